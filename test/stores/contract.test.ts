import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../lib/index.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { body, complete, loaded, newSession } from '../support/store.ts'
import {
  fileStoreFixture,
  memoryCapabilities,
  memoryStoreFixture,
  sharedCapabilities,
  sharedStoreFixture,
} from '../testing/fixtures.ts'

const runner = { describe, it }

describe('memoryStore', () => {
  storeSuite(runner, () => memoryStoreFixture(), memoryCapabilities)
})

describe('fileStore with default options', () => {
  storeSuite(runner, () => fileStoreFixture())
})

describe.each([true, false])('the shared store of the tests, publishesOnAppend: %s', (publishesOnAppend) => {
  storeSuite(runner, () => sharedStoreFixture({ publishesOnAppend }), sharedCapabilities)
})

describe('memoryStore capacity', () => {
  it('rejects an append above it with disk-full, and throws a TypeError for a capacity of 0', async () => {
    const store = memoryStore({ capacity: 5 })
    const session = newSession()
    await store.create(session)
    const full = store.append(await loaded(store, session.id), body('abc', 'def'), {
      total: 6,
      durable: false,
    })
    await expect(full).rejects.toMatchObject({ code: 'disk-full' })
    expect(await loaded(store, session.id)).toMatchObject({ received: 3 })
    expect(() => memoryStore({ capacity: 0 })).toThrow(TypeError)
  })

  it('includes the bytes of replies', async () => {
    const store = memoryStore({ capacity: 8 })
    const session = await complete(store, 'abc')
    const full = store.saveReply(session, body('abc', 'def'))
    await expect(full).rejects.toMatchObject({ code: 'disk-full' })
    await store.saveReply(session, body('abcd'))
    await expect(complete(store, 'xy', { name: 'b.bin' })).rejects.toMatchObject({ code: 'disk-full' })
    await store.remove(session)
    await complete(store, 'xy', { name: 'c.bin' })
  })

  it('is freed when a file is deleted or replaced and when a session is removed or refused', async () => {
    const store = memoryStore({ capacity: 4 })
    for (const [i, take] of [
      (name: string) => void store.files.delete(name),
      () => store.files.clear(),
      (name: string) => void store.files.set(name, Buffer.of()),
    ].entries()) {
      const name = `${i}.bin`
      const session = await complete(store, 'abcd', { name })
      await store.publish(session)
      await expect(complete(store, 'x', { name: 'more.bin' })).rejects.toMatchObject({ code: 'disk-full' })
      await store.remove(session)
      await expect(complete(store, 'x', { name: 'more.bin' })).rejects.toMatchObject({ code: 'disk-full' })
      take(name)
    }
    await store.remove(await complete(store, 'abcd', { name: 'ended.bin' }))
    await store.reject(await complete(store, 'abcd', { name: 'refused.bin' }), 'no')
    await complete(store, 'abcd', { name: 'last.bin' })
  })

  it('is not reduced by an append whose session is removed meanwhile', async () => {
    const store = memoryStore({ capacity: 4 })
    const session = newSession()
    await store.create(session)
    const loadedSession = await loaded(store, session.id)
    const bytes = (async function* () {
      yield [Buffer.from('ab')]
      await store.remove(loadedSession)
      yield [Buffer.from('cd')]
    })()
    const late = store.append(loadedSession, bytes, { total: 4, durable: false })
    await expect(late).rejects.toMatchObject({ code: 'session-not-found' })
    await complete(store, 'abcd', { name: 'next.bin' })
  })

  it('is not reduced by a reply whose session is removed meanwhile', async () => {
    const store = memoryStore({ capacity: 4 })
    const session = await complete(store, 'ab')
    const reply = (async function* () {
      await store.remove(session)
      yield [Buffer.from('cd')]
    })()
    await expect(store.saveReply(session, reply)).rejects.toMatchObject({ code: 'session-not-found' })
    await complete(store, 'abcd', { name: 'next.bin' })
  })
})

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore, memoryStore, type Store } from '../../lib/index.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { body, complete, listed, loaded, newSession, textOf } from '../support/store.ts'

interface Opened {
  readonly store: Store
  /** The text published under a name; undefined if there is none. */
  published(name: string): Promise<string | undefined>
}

const stores: [name: string, open: () => Promise<Opened>][] = [
  [
    'file',
    async () => {
      const directory = await temporaryDirectory()
      return {
        store: fileStore(directory),
        published: (name) => readFile(join(directory, name), 'utf8').catch(() => undefined),
      }
    },
  ],
  [
    'memory',
    async () => {
      const store = memoryStore()
      return { store, published: async (name) => store.files.get(name)?.toString() }
    },
  ],
]

describe.each(stores)('the %s store', (_, open) => {
  it('begins a session and tells all of it', async () => {
    const { store } = await open()
    const session = newSession({ owner: 'ann', metadata: { shop: '7' }, overwrite: true })
    await store.create(session)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ ...session, state: 'receiving', received: 0 })
    expect(found.total).toBeUndefined()
    expect(Math.abs(found.progressed - Date.now())).toBeLessThan(10_000)
    expect(await store.load(newSession().id)).toBeUndefined()
  })

  it('counts what it was given, fragment after fragment', async () => {
    const { store } = await open()
    const { id } = newSession()
    await store.create(newSession({ id }))
    const one = await store.append(await loaded(store, id), body('ab', 'c'), { total: 6, durable: false })
    expect(one).toMatchObject({ received: 3, total: 6, state: 'receiving' })
    expect(await loaded(store, id)).toMatchObject({ received: 3, total: 6, state: 'receiving' })
    const two = await store.append(await loaded(store, id), body('def'), { total: 6, durable: true })
    expect(two).toMatchObject({ received: 6, total: 6 })
    expect(await textOf(store.read(two))).toBe('abcdef')
  })

  it('keeps what came before a body broke, and passes the error on', async () => {
    const { store } = await open()
    const { id } = newSession()
    await store.create(newSession({ id }))
    const broken = store.append(await loaded(store, id), body('ab', 'c', new Error('line cut')), {
      total: 6,
      durable: false,
    })
    await expect(broken).rejects.toThrow('line cut')
    expect(await loaded(store, id)).toMatchObject({ received: 3, total: 6 })
  })

  it('publishes under the name, once, and still knows the session', async () => {
    const { store, published } = await open()
    const session = await complete(store, 'hello')
    expect(await published('a.bin')).toBeUndefined()
    await store.publish(session)
    expect(await published('a.bin')).toBe('hello')
    const after = await loaded(store, session.id)
    expect(after).toMatchObject({ state: 'published', received: 5, total: 5 })
    await store.publish(after)
    expect(await published('a.bin')).toBe('hello')
  })

  it('publishes an empty file', async () => {
    const { store, published } = await open()
    await store.publish(await complete(store, ''))
    expect(await published('a.bin')).toBe('')
  })

  it('refuses a name that is taken, when a session begins and when it ends', async () => {
    const { store, published } = await open()
    const late = await complete(store, 'late')
    await store.publish(await complete(store, 'early'))
    await expect(store.publish(late)).rejects.toMatchObject({ code: 'destination-exists' })
    await expect(store.create(newSession())).rejects.toMatchObject({ code: 'destination-exists' })
    expect(await published('a.bin')).toBe('early')
    expect(await loaded(store, late.id)).toMatchObject({ received: 4 })
    expect(await textOf(store.read(late))).toBe('late')
  })

  it('replaces a file, if the session may', async () => {
    const { store, published } = await open()
    await store.publish(await complete(store, 'old'))
    const session = await complete(store, 'new', { overwrite: true })
    expect(await published('a.bin')).toBe('old')
    await store.publish(session)
    expect(await published('a.bin')).toBe('new')
  })

  it('remembers that an upload was accepted', async () => {
    const { store } = await open()
    const session = await complete(store, 'abc')
    expect((await loaded(store, session.id)).acceptance).toBeUndefined()
    const acceptance = { publish: true, reply: { url: 'http://replies.example/1' } }
    await store.accept(session, acceptance)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'accepted', received: 3, acceptance })
    await store.publish(await loaded(store, session.id))
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published', received: 3, acceptance })
  })

  it('remembers that an upload was accepted, and is not to be published', async () => {
    const { store, published } = await open()
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: false })
    const after = await loaded(store, session.id)
    expect(after).toMatchObject({ state: 'accepted', received: 3, acceptance: { publish: false } })
    await store.remove(after)
    expect(await published('a.bin')).toBeUndefined()
  })

  it('remembers that an upload was refused, and why', async () => {
    const { store, published } = await open()
    const session = await complete(store, 'abc')
    await store.refuse(session, 'a virus')
    const after = await loaded(store, session.id)
    expect(after).toMatchObject({ state: 'refused', received: 3, total: 3, refusal: 'a virus' })
    expect(await published('a.bin')).toBeUndefined()
    expect(await listed(store)).toEqual([session.id])
    await store.remove(after)
    expect(await listed(store)).toEqual([])
  })

  it('keeps a reply, the last that it was given, until the session ends', async () => {
    const { store } = await open()
    const session = await complete(store, 'abc')
    expect(await store.loadReply(session)).toBeUndefined()
    await store.keepReply(session, body('an earlier, longer one'))
    await store.keepReply(session, body('the ', 'reply'))
    await store.accept(session, { publish: true, reply: 'kept' })
    const reply = await store.loadReply(await loaded(store, session.id))
    expect(reply?.size).toBe(9)
    expect(await textOf(reply?.read(0, 8) ?? [])).toBe('the reply')
    expect(await textOf(reply?.read(4, 6) ?? [])).toBe('rep')
    await store.publish(await loaded(store, session.id))
    const later = await store.loadReply(await loaded(store, session.id))
    expect([later?.size, later?.modified]).toEqual([9, reply?.modified])
    await store.remove(await loaded(store, session.id))
    expect(await store.loadReply(session)).toBeUndefined()
  })

  it('keeps an empty reply', async () => {
    const { store } = await open()
    const session = await complete(store, 'abc')
    await store.keepReply(session, body())
    expect(await store.loadReply(session)).toMatchObject({ size: 0 })
  })

  it('passes on the error of a reply that breaks off', async () => {
    const { store } = await open()
    const session = await complete(store, 'abc')
    await expect(store.keepReply(session, body('a', new Error('cut')))).rejects.toThrow('cut')
    await store.remove(session)
    expect(await store.loadReply(session)).toBeUndefined()
  })

  it('forgets a session, but never what was published', async () => {
    const { store, published } = await open()
    const session = await complete(store, 'abc')
    const other = await complete(store, 'xyz', { name: 'b.bin' })
    expect(await listed(store)).toEqual([session.id, other.id].sort())
    await store.publish(session)
    await store.remove(await loaded(store, session.id))
    await store.remove(other)
    await store.remove(other)
    expect(await listed(store)).toEqual([])
    expect(await store.load(session.id)).toBeUndefined()
    expect(await published('a.bin')).toBe('abc')
    expect(await published('b.bin')).toBeUndefined()
  })

  it('takes nothing for a session that was removed', async () => {
    const { store } = await open()
    const session = await complete(store, 'abc')
    await store.remove(session)
    await expect(store.append(session, body('x'), { total: 3, durable: false })).rejects.toThrow()
    expect(await store.load(session.id)).toBeUndefined()
    expect(await listed(store)).toEqual([])
  })
})

describe('the memory store', () => {
  it('has an end', async () => {
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

  it('counts replies, too', async () => {
    const store = memoryStore({ capacity: 8 })
    const session = await complete(store, 'abc')
    const full = store.keepReply(session, body('abc', 'def'))
    await expect(full).rejects.toMatchObject({ code: 'disk-full' })
    await store.keepReply(session, body('abcd'))
    await expect(complete(store, 'xy', { name: 'b.bin' })).rejects.toMatchObject({ code: 'disk-full' })
    await store.remove(session)
    await complete(store, 'xy', { name: 'c.bin' })
  })
})

/** Uploads to S3 whose ids are in no record: lib/stores/object/README.md, rule 7 and "Removal". */
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Session, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, listed, loaded, newSession } from '../../support/store.ts'
import { type Node, type NodeOptions, sharedBucket } from './observed.ts'

const day = 24 * 60 * 60_000
const file = noise(12_000)
const never = new Promise<never>(() => {})

const appendTo = (store: Store, session: Session, end: number, bytes = file): Promise<Session> =>
  store.append(session, body(bytes.subarray(session.received, end)), {
    total: bytes.length,
    durable: true,
    publish: true,
  })

/** A new session in a bucket with two nodes. */
async function created(options: NodeOptions = {}) {
  const shared = sharedBucket({ semantics: 'S3', ...options })
  const [one, other] = [shared.newNode(), shared.newNode()]
  const { id } = await one.store.create(newSession())
  return { ...shared, one, other, id }
}

/** A node that creates an upload, and is killed before it has recorded it. */
async function dieAfterUpload(node: Node, id: string, end: number, bytes = file): Promise<void> {
  const session = await loaded(node.store, id)
  await new Promise<void>((resolve) => {
    node.next('create upload', async (send) => {
      await send()
      resolve()
      return never
    })
    void appendTo(node.store, session, end, bytes)
  })
}

const sweepAt = async (store: Store, now: number): Promise<void> => {
  vi.useFakeTimers({ now, toFake: ['Date'] })
  expect(await listed(store)).toEqual([])
}

describe('Upload to S3', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is aborted by the node that has created it, but could not record it', async () => {
    const { one, other, id, uploads, recordOf, fileOf } = await created()
    one.next('create upload', async (send) => {
      const result = await send()
      await appendTo(other.store, await loaded(other.store, id), 4000)
      return result
    })
    await expect(appendTo(one.store, await loaded(one.store, id), 4000)).rejects.toMatchObject({
      code: 'out-of-sync',
    })
    expect(await uploads()).toEqual([recordOf(id).layout.upload])
    // The other node cannot know that.
    expect(recordOf(id)).toMatchObject({ strays: true })
    expect(recordOf(id)).not.toHaveProperty('starting')
    await appendTo(one.store, await loaded(one.store, id), 12_000)
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('is aborted by a sweep a day after its session, if its node was killed before it recorded it', async () => {
    const { one, other, id, uploads, recordOf, bucket } = await created()
    await dieAfterUpload(one, id, 4000)
    expect(recordOf(id)).toMatchObject({ starting: true })
    expect(recordOf(id)).not.toHaveProperty('strays')
    const session = await appendTo(other.store, await loaded(other.store, id), 12_000)
    expect(recordOf(id)).toMatchObject({ published: true, strays: true })
    await other.store.remove(session)
    expect(await other.store.load(id)).toBeUndefined()
    const now = Date.now()
    await sweepAt(other.store, now + day - 60_000)
    expect(await uploads()).toHaveLength(1)
    await sweepAt(other.store, now + day + 60_000)
    expect(await uploads()).toEqual([])
    expect([...bucket.keys()]).toEqual(['a.bin'])
  })

  it('is aborted by a sweep a day later, if its session was removed at once', async () => {
    const { one, other, id, uploads, bucket } = await created()
    await dieAfterUpload(one, id, 4000)
    await other.store.remove(await loaded(other.store, id))
    const now = Date.now()
    await sweepAt(other.store, now)
    expect(await uploads()).toHaveLength(1)
    await sweepAt(other.store, now + day + 1000)
    expect(await uploads()).toEqual([])
    expect([...bucket.keys()]).toEqual([])
  })

  it('is noted in the record if the SDK has sent the request that creates it twice', async () => {
    const { one, id, recordOf } = await created()
    one.next('create upload', async (send) => ({ ...((await send()) as object), isRepeated: true }))
    await appendTo(one.store, await loaded(one.store, id), 4000)
    expect(recordOf(id)).toMatchObject({ strays: true })
  })

  it.each([
    ['after its node was killed', dieAfterUpload],
    [
      'which has no part because the service has failed',
      async (node: Node, id: string, end: number, bytes: Buffer) => {
        // Again when the bytes that have arrived are written.
        for (let i = 0; i < 2; i += 1) node.next('PUT part', () => Promise.reject(new Error('failed')))
        await expect(appendTo(node.store, await loaded(node.store, id), end, bytes)).rejects.toThrow('failed')
      },
    ],
  ])('is aborted even if the file is then published by one PUT: %s', async (_, leave) => {
    const { one, other, id, uploads, bucket } = await created()
    // A file that is one part, or none, depending on its fragments.
    const bytes = file.subarray(0, 4500)
    await leave(one, id, 3000, bytes)
    expect(await uploads()).toHaveLength(1)
    const session = await appendTo(other.store, await loaded(other.store, id), 4500, bytes)
    expect(session.state).toBe('published')
    await other.store.remove(session)
    await sweepAt(other.store, Date.now() + day + 1000)
    expect(await uploads()).toEqual([])
    expect([...bucket.keys()]).toEqual(['a.bin'])
  })

  it.each([
    ['the last fragment', false, true],
    ['Close-Session', false, false],
    ['the copy of separate objects', true, false],
  ])(
    'is aborted by %s that finds the file, which a late PUT has published',
    async (_, mayReadBytes, publish) => {
      const { newNode, service, uploads, recordOf, bucket } = await created()
      const { store, next, takeRequests } = newNode()
      const { id } = await store.create(newSession(), { mayReadBytes })
      const options = { total: file.length, durable: true, publish }
      await store.append(await loaded(store, id), body(file.subarray(0, 8000)), options)
      next('complete', async (send) => {
        await service.put('a.bin', [file], { attributes: { contentType: 'a/b', metadata: { session: id } } })
        return send()
      })
      takeRequests()
      const session = await store.append(await loaded(store, id), body(file.subarray(8000)), options)
      if (!publish) await store.publish(session)
      const last = ['complete', 'HEAD file', 'abort', 'PUT record published']
      expect(
        takeRequests()
          .filter((name) => last.includes(name))
          .slice(-4),
      ).toEqual(last)
      expect(await uploads()).toEqual([])
      expect(recordOf(id)).not.toHaveProperty('strays')
      await store.remove(await loaded(store, id))
      expect([...bucket.keys()].filter((key) => key.includes(id))).toEqual([])
    },
  )

  it('is aborted if the next attempt to publish separate objects finds the file', async () => {
    const { newNode, service, uploads } = await created()
    const { store, next } = newNode()
    const { id } = await store.create(newSession(), { mayReadBytes: true })
    const options = { total: file.length, durable: true }
    const session = await store.append(await loaded(store, id), body(file), options)
    next('complete', () => Promise.reject(new Error('failed')))
    await expect(store.publish(session)).rejects.toThrow('failed')
    await service.put('a.bin', [file], { attributes: { contentType: 'a/b', metadata: { session: id } } })
    await store.publish(await loaded(store, id))
    expect(await uploads()).toEqual([])
  })

  it('is kept if it is that of another session, of another program, or young', async () => {
    const { one, other, id, uploads, recordOf, service } = await created()
    await dieAfterUpload(one, id, 4000)
    await other.store.remove(await loaded(other.store, id))
    const { id: second } = await other.store.create(newSession())
    await appendTo(other.store, await loaded(other.store, second), 4000)
    const { id: backup } = await service.createUpload('a.bin.bak')
    vi.useFakeTimers({ now: Date.now() + day + 1000, toFake: ['Date'] })
    const { id: young } = await service.createUpload('a.bin')
    expect(await listed(other.store)).toEqual([second])
    expect((await uploads()).sort()).toEqual([recordOf(second).layout.upload, backup, young].sort())
    expect(recordOf(id)).toBeUndefined()
  })

  it('is kept as long as a record cannot be read, because it may be in there', async () => {
    const { one, other, id, uploads, recordOf, service, bucket } = await created()
    await dieAfterUpload(one, id, 4000)
    await other.store.remove(await loaded(other.store, id))
    const unreadable = newSession().id
    const key = `.bits-sessions/records/${unreadable}`
    await service.put(key, [Buffer.from('{"version":2}')])
    vi.useFakeTimers({ now: Date.now() + day + 1000, toFake: ['Date'] })
    const errors: unknown[] = []
    for await (const _ of other.store.list({ onUnreadable: (error) => errors.push(error) }));
    expect(errors).toHaveLength(1)
    expect(await uploads()).toHaveLength(1)
    expect(recordOf(id)).toMatchObject({ removed: true })
    bucket.delete(key)
    expect(await listed(other.store)).toEqual([])
    expect(await uploads()).toEqual([])
    expect(recordOf(id)).toBeUndefined()
  })

  it('of a reply is aborted a day later if its node was killed, and at once if the body fails', async () => {
    const { one, other, id, uploads } = await created()
    const session = await loaded(one.store, id)
    // The sizes of its parts are those of a gigabyte.
    const bytes = noise(2_000_000)
    const failing = one.store.saveReply(session, body(bytes, new Error('the hook failed')))
    await expect(failing).rejects.toThrow('the hook failed')
    expect(one.takeRequests()).toContain('abort')
    expect(await uploads()).toEqual([])
    await new Promise<void>((resolve) => {
      one.next('complete', () => {
        resolve()
        return never
      })
      void one.store.saveReply(session, body(bytes))
    })
    await other.store.remove(await loaded(other.store, id))
    const now = Date.now()
    await sweepAt(other.store, now + day - 60_000)
    expect(await uploads()).toHaveLength(1)
    await sweepAt(other.store, now + day + 60_000)
    expect(await uploads()).toEqual([])
  })
})

describe('Record of a session on Azure', () => {
  it('is not kept because of uploads, which the service discards itself', async () => {
    const { one, other, id, bucket } = await created({ semantics: 'Azure' })
    await appendTo(one.store, await loaded(one.store, id), 8000)
    const stale = await loaded(other.store, id)
    // The node is stopped after the completion, and a consumer removes the file. Another node resets the session.
    one.next('PUT record published', async (send) => {
      bucket.delete('a.bin')
      await expect(appendTo(other.store, stale, 12_000)).rejects.toMatchObject({ code: 'out-of-sync' })
      expect(await loaded(other.store, id)).toMatchObject({ state: 'lost' })
      return send()
    })
    await appendTo(one.store, await loaded(one.store, id), 12_000)
    await one.store.remove(await loaded(one.store, id))
    expect([...bucket.keys()]).toEqual([])
  })
  it('is not kept because of blocks that one PUT of the file has discarded', async () => {
    const { one, id, bucket } = await created({ semantics: 'Azure' })
    const bytes = file.subarray(0, 4500)
    for (let i = 0; i < 2; i += 1) one.next('PUT part', () => Promise.reject(new Error('failed')))
    await expect(appendTo(one.store, await loaded(one.store, id), 3000, bytes)).rejects.toThrow('failed')
    const session = await appendTo(one.store, await loaded(one.store, id), 4500, bytes)
    expect(session.state).toBe('published')
    await one.store.remove(session)
    expect([...bucket.keys()]).toEqual(['a.bin'])
  })
})

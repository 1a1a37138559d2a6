/** The lease of a session: lib/stores/object/README.md, "The lease". */
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ConditionFailed } from '../../../lib/stores/object/service/service.ts'
import type { DecisionLease, Session, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, complete, loaded, newSession, refusal } from '../../support/store.ts'
import { readAll } from './fixture.ts'
import { type Node, sharedBucket } from './observed.ts'

/** A node whose timers have stopped. */
const stopped = { renew: 1e6, dead: 25, poll: 1 }

/** For tests in which no node may be regarded as dead, however slow this computer is. */
const patient = { renew: 4, dead: 1e6, poll: 1 }

/** A complete small session in a bucket, of which no packet has decided yet. */
async function completed(options = {}) {
  const shared = sharedBucket({ semantics: 'S3', ...options })
  const { id } = await complete(shared.newNode().store, 'abc')
  return { ...shared, id }
}

async function decide(store: Store, id: string, timeout = 0): Promise<DecisionLease> {
  const lease = await store.acquireDecision?.(await loaded(store, id), { timeout })
  if (!lease) throw new Error('The store has no acquireDecision')
  return lease
}

/** A clock that advances 10 ms when a node sends a request for a record. */
function clockOf(node: Node) {
  let now = 0
  const sentAt: number[] = []
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  /** @param before what happens before the answer */
  const advance = (count: number, before = async (): Promise<void> => {}): void => {
    for (let i = 0; i < count; i += 1) {
      node.next('GET record', async (send) => {
        sentAt.push(now)
        now += 10
        await before()
        return send()
      })
    }
  }
  return { advance, sentAt, now: () => now }
}

describe('Lease', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('lets one node decide; the other one gets the session as it was decided', async () => {
    const { id, newNode } = await completed()
    const [one, other] = [newNode(patient), newNode(patient)]
    const lease = await decide(one.store, id)
    expect(lease.session.state).toBe('receiving')
    const waiting = decide(other.store, id)
    await expect.poll(() => other.requests.length).toBeGreaterThan(3)
    await one.store.accept(lease.session, { publish: true })
    await one.store.publish(lease.session)
    await lease.release()
    const late = await waiting
    expect(late.session).toMatchObject({ state: 'published', received: 3 })
    await late.release()
    expect(other.requests).not.toContain('PUT record lease')
  })

  it('is acquired by the other node if the first one releases it without a decision', async () => {
    const { id, newNode, recordOf } = await completed()
    const [one, other] = [newNode(patient), newNode(patient)]
    const lease = await decide(one.store, id)
    const waiting = decide(other.store, id)
    await expect.poll(() => other.requests.length).toBeGreaterThan(3)
    expect(recordOf(id)).toHaveProperty('lease')
    await lease.release()
    const next = await waiting
    expect(next.session.state).toBe('receiving')
    await other.store.accept(next.session, { publish: false })
    expect(recordOf(id)).toHaveProperty('lease')
    await next.release()
    expect(recordOf(id)).not.toHaveProperty('lease')
  })

  it('is acquired after the time limit by no node: session-busy', async () => {
    const { id, newNode } = await completed()
    const [one, other] = [newNode(patient), newNode(patient)]
    await decide(one.store, id)
    await expect(decide(other.store, id, 1)).rejects.toEqual(refusal('session-busy'))
  })

  it('is not waited for any longer when the signal is aborted', async () => {
    const { id, newNode } = await completed()
    const [one, other] = [newNode(patient), newNode({ ...patient, poll: 1e6 })]
    await decide(one.store, id)
    const session = await loaded(other.store, id)
    other.takeRequests()
    const controller = new AbortController()
    const waiting = other.store.acquireDecision?.(session, { timeout: 0, signal: controller.signal })
    waiting?.catch(() => {})
    // The timer until the third one runs.
    await expect.poll(() => other.requests).toEqual(['GET record', 'GET record'])
    const reason = new Error('the client has gone')
    await turn()
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })

  it('is renewed while a hook runs, and a living holder keeps it for any time', async () => {
    const { id, newNode, recordOf } = await completed()
    const [one, other] = [newNode({ ...patient, renew: 1 }), newNode()]
    const clock = clockOf(other)
    const lease = await decide(one.store, id)
    const renewed = async (): Promise<void> => {
      const before = recordOf(id).lease.renewals
      while (recordOf(id).lease.renewals === before) await turn()
    }
    clock.advance(1)
    clock.advance(10, renewed)
    const waiting = decide(other.store, id)
    // More than 25 ms.
    await expect.poll(clock.now).toBe(110)
    expect(other.requests).not.toContain('PUT record lease')
    await one.store.accept(lease.session, { publish: false })
    await lease.release()
    expect((await waiting).session.state).toBe('accepted')
  })

  it('of a dead holder is acquired when the record has not changed for the time `dead`', async () => {
    const { id, newNode } = await completed()
    const [one, other] = [newNode(stopped), newNode()]
    await decide(one.store, id)
    const session = await loaded(other.store, id)
    other.takeRequests()
    const clock = clockOf(other)
    clock.advance(20)
    await other.store.acquireDecision?.(session, { timeout: 0 })
    // From the first answer, at 10 ms, until the last request was sent.
    expect(clock.sentAt).toEqual([0, 10, 20, 30, 40])
  })

  it('that another node has acquired: the former holder can neither decide nor publish a small file', async () => {
    const { id, newNode, fileOf, recordOf } = await completed()
    const [one, other] = [newNode(stopped), newNode()]
    const lease = await decide(one.store, id)
    const next = await decide(other.store, id)
    one.takeRequests()
    await expect(one.store.accept(lease.session, { publish: true })).rejects.toBeInstanceOf(ConditionFailed)
    await expect(one.store.reject(lease.session, 'late')).rejects.toBeInstanceOf(ConditionFailed)
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 1000)
    one.takeRequests()
    await expect(one.store.publish(lease.session)).rejects.toEqual(refusal('out-of-sync'))
    // The renewal has failed, and no other request was sent.
    expect(one.takeRequests()).toEqual(['READ tail', 'PUT record lease'])
    await lease.release()
    expect(fileOf()).toBeUndefined()
    expect(recordOf(id)).toHaveProperty('lease')
    await other.store.accept(next.session, { publish: true })
    await other.store.publish(next.session)
    expect(fileOf()?.toString()).toBe('abc')
  })

  it('prevents that two nodes publish a small file, of which a consumer removes the first copy', async () => {
    const { newNode, bucket } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(patient), newNode(patient)]
    const { id } = await one.store.create(newSession({ overwrite: true }))
    const stale = await loaded(other.store, id)
    const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
    one.next('PUT file', async (send) => {
      reached.resolve()
      await resume.promise
      return send()
    })
    const options = { total: 3, durable: true, publish: true }
    const publishing = one.store.append(await loaded(one.store, id), body('abc'), options)
    await reached.promise
    const repeated = other.store.append(stale, body('abc'), options)
    repeated.catch(() => {})
    await expect.poll(() => other.requests.filter((name) => name === 'GET record').length).toBeGreaterThan(3)
    one.next('PUT record published', (send) => {
      bucket.delete('a.bin')
      return send()
    })
    resume.resolve()
    expect(await publishing).toMatchObject({ state: 'published' })
    await expect(repeated).rejects.toEqual(refusal('out-of-sync'))
    expect(other.requests).not.toContain('PUT file')
    expect(await loaded(other.store, id)).toMatchObject({ state: 'published' })
    expect(bucket.has('a.bin')).toBe(false)
  })

  it('is removed when the publication of a small file fails, so that the next packet need not wait', async () => {
    const { newNode, recordOf, fileOf } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(patient), newNode(patient)]
    const { id } = await one.store.create(newSession({ overwrite: true }))
    const options = { total: 3, durable: true, publish: true }
    one.next('PUT file', () => Promise.reject(new Error('failed')))
    await expect(one.store.append(await loaded(one.store, id), body('abc'), options)).rejects.toThrow(
      'failed',
    )
    expect(recordOf(id)).not.toHaveProperty('lease')
    await other.store.append(await loaded(other.store, id), body('abc'), options)
    expect(fileOf()?.toString()).toBe('abc')
  })

  it('that could not be removed ends after the time `dead`', async () => {
    const { newNode, fileOf, recordOf } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(stopped), newNode()]
    const { id } = await one.store.create(newSession({ overwrite: true }))
    const options = { total: 3, durable: true, publish: true }
    const fail = () => Promise.reject(new Error('failed'))
    one.next('PUT file', fail)
    // The release, and the update with the bytes that have arrived.
    for (let i = 0; i < 2; i += 1) {
      one.next('PUT record', fail)
      one.next('PUT record lease', (send) => (i === 0 ? send() : fail()))
    }
    await expect(one.store.append(await loaded(one.store, id), body('abc'), options)).rejects.toThrow(
      'failed',
    )
    expect(recordOf(id)).toHaveProperty('lease')
    await other.store.append(await loaded(other.store, id), body('abc'), options)
    expect(fileOf()?.toString()).toBe('abc')
  })

  it('is not acquired for an old record: the bytes of another node are not published twice', async () => {
    const { newNode, bucket } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(patient), newNode(patient)]
    const { id } = await one.store.create(newSession({ overwrite: true }))
    const stale = await loaded(other.store, id)
    await one.store.append(await loaded(one.store, id), body('ab'), { total: 3, durable: true })
    const options = { total: 3, durable: true, publish: true }
    await expect(other.store.append(stale, body('abc'), options)).rejects.toEqual(refusal('out-of-sync'))
    expect(bucket.has('a.bin')).toBe(false)
    expect(await loaded(other.store, id)).toMatchObject({ received: 2 })
  })

  it('delays the completion of an upload of the same session, which a small file may replace', async () => {
    const { newNode, bucket, uploads } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(patient), newNode(patient)]
    const { id } = await one.store.create(newSession({ overwrite: true }))
    const options = { total: 4500, durable: true, publish: true }
    const file = noise(4500)
    const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
    one.next('PUT file', async (send) => {
      reached.resolve()
      await resume.promise
      return send()
    })
    const publishing = one.store.append(await loaded(one.store, id), body(file), options)
    await reached.promise
    // The client has given up, and sends the file in two fragments to the other node.
    const half = await other.store.append(
      await loaded(other.store, id),
      body(file.subarray(0, 3000)),
      options,
    )
    const repeated = other.store.append(half, body(file.subarray(3000)), options)
    repeated.catch(() => {})
    other.takeRequests()
    await expect.poll(() => other.requests.filter((name) => name === 'GET record').length).toBeGreaterThan(3)
    expect(other.requests).not.toContain('complete')
    one.next('PUT record published', (send) => {
      bucket.delete('a.bin')
      return send()
    })
    resume.resolve()
    expect(await publishing).toMatchObject({ state: 'published' })
    await expect(repeated).rejects.toEqual(refusal('out-of-sync'))
    expect(other.requests).not.toContain('complete')
    expect(bucket.has('a.bin')).toBe(false)
    // It is aborted when the session is removed, or a day later.
    expect(await uploads()).toHaveLength(1)
  })

  it('delays the removal of a session until it is released', async () => {
    const { id, newNode, bucket } = await completed()
    const [one, other] = [newNode(patient), newNode(patient)]
    const lease = await decide(one.store, id)
    const session = await loaded(other.store, id)
    other.takeRequests()
    const removing = other.store.remove(session)
    await expect.poll(() => other.requests.length).toBeGreaterThan(3)
    expect(new Set(other.requests)).toEqual(new Set(['GET record']))
    await lease.release()
    await removing
    expect([...bucket.keys()]).toEqual([])
  })

  it('prevents the removal of a session of which its holder decides', async () => {
    const { id, newNode, recordOf } = await completed()
    const [one, other] = [newNode(patient), newNode(patient)]
    const lease = await decide(one.store, id)
    const session = await loaded(other.store, id)
    other.takeRequests()
    const removing = other.store.remove(session)
    removing.catch(() => {})
    await expect.poll(() => other.requests.length).toBeGreaterThan(3)
    await one.store.accept(lease.session, { publish: true })
    await one.store.publish(lease.session)
    await lease.release()
    await expect(removing).rejects.toEqual(refusal('out-of-sync'))
    expect(recordOf(id)).toMatchObject({ published: true })
  })

  it('of a dead holder delays the removal for the time `dead`, and the holder cannot decide any more', async () => {
    const { id, newNode, bucket } = await completed()
    const [one, other] = [newNode(stopped), newNode()]
    const lease = await decide(one.store, id)
    await other.store.remove(await loaded(other.store, id))
    await expect(one.store.accept(lease.session, { publish: true })).rejects.toBeInstanceOf(ConditionFailed)
    expect([...bucket.keys()]).toEqual([])
  })
})

describe.each(['S3', 'Azure'] as const)('Decision about a session with %s semantics', (semantics) => {
  it('needs its bytes: a session of a server without a hook starts again as separate objects', async () => {
    const file = noise(12_000)
    const { newNode, recordOf, fileOf, uploads } = sharedBucket({ semantics })
    const { store } = newNode()
    const { id } = await store.create(newSession())
    const append = async (): Promise<Session> =>
      store.append(await loaded(store, id), body(file), { total: file.length, durable: true })
    await append()
    await expect(decide(store, id)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(store, id)).toMatchObject({ state: 'lost', received: 0 })
    expect(recordOf(id)).toMatchObject({ separate: true, ...(semantics === 'S3' && { strays: true }) })
    await append()
    const lease = await decide(store, id)
    expect((await readAll(store, lease.session)).equals(file)).toBe(true)
    await store.accept(lease.session, { publish: true })
    await store.publish(lease.session)
    await lease.release()
    expect(fileOf()?.equals(file)).toBe(true)
    // The first upload was aborted.
    expect(await uploads()).toEqual([])
  })

  it('that another node has made: the former holder of the lease does not publish separate objects', async () => {
    const file = noise(12_000)
    const { newNode, fileOf } = sharedBucket({ semantics })
    const [one, other] = [newNode(stopped), newNode()]
    const { id } = await one.store.create(newSession(), { mayReadBytes: true })
    const options = { total: file.length, durable: true }
    await one.store.append(await loaded(one.store, id), body(file), options)
    const lease = await decide(one.store, id)
    const next = await decide(other.store, id)
    await other.store.reject(next.session, 'a virus')
    await expect(one.store.publish(lease.session)).rejects.toEqual(refusal('out-of-sync'))
    await expect(one.store.accept(lease.session, { publish: true })).rejects.toBeInstanceOf(ConditionFailed)
    expect(fileOf()).toBeUndefined()
    expect(await loaded(one.store, id)).toMatchObject({ state: 'rejected' })
  })

  it('fails if another node has changed the session, which a server without a hook has created', async () => {
    const { newNode } = sharedBucket({ semantics })
    const [one, other] = [newNode(), newNode()]
    const { id } = await one.store.create(newSession())
    await one.store.append(await loaded(one.store, id), body(noise(12_000)), { total: 12_000, durable: true })
    const stale = await loaded(one.store, id)
    await other.store.accept(await loaded(other.store, id), { publish: true })
    const deciding = one.store.acquireDecision?.(stale, { timeout: 0 })
    await expect(deciding).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(one.store, id)).toMatchObject({ state: 'accepted', received: 12_000 })
  })

  it('that rejects the upload removes its bytes, and aborts its upload', async () => {
    const file = noise(12_000)
    for (const mayReadBytes of [true, false]) {
      const { newNode, bucket, uploads } = sharedBucket({ semantics })
      const { store } = newNode()
      const { id } = await store.create(newSession(), { mayReadBytes })
      const session = await loaded(store, id)
      const complete = await store.append(session, body(file), { total: file.length, durable: true })
      await store.reject(complete, 'a virus')
      expect([...bucket.keys()]).toEqual([`.bits-sessions/records/${id}`])
      expect(await uploads()).toEqual([])
      expect(await loaded(store, id)).toMatchObject({ state: 'rejected', rejection: 'a virus' })
    }
  })
})

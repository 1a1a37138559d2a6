/** Calls of the object store that the caller no longer waits for, and requests that are not answered. */
import { Readable } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readIntoMemory } from '../../../lib/stores/object/layout.ts'
import { MemoryBudget } from '../../../lib/stores/object/memory-budget.ts'
import { conditionFailed, type ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { DecisionLease, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { memoryObjectService } from '../../support/memory-object-service.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, loaded, newSession, refusal } from '../../support/store.ts'
import { storeOn } from './fixture.ts'
import { sharedBucket, stopBefore } from './observed.ts'

const file = noise(12_000)
const gaveUp = new Error('the caller gave up')
/** No node is regarded as dead. */
const patient = { renew: 1000, dead: 1e9, poll: 1 }

/** A session with all its bytes in objects, and a lease for the hook at one of two nodes. */
async function decided() {
  const shared = sharedBucket({ semantics: 'S3' })
  const [one, other] = [shared.newNode(patient), shared.newNode(patient)]
  const { id } = await one.store.create(newSession(), { mayReadBytes: true })
  await one.store.append(await loaded(one.store, id), body(file), { total: file.length, durable: true })
  const decide = async (store: Store): Promise<DecisionLease> => {
    const lease = await store.acquireDecision?.(await loaded(store, id), { timeout: 0 })
    if (!lease) throw new Error('The store has no acquireDecision')
    return lease
  }
  return { ...shared, one, other, id, lease: await decide(one.store) }
}

describe('Object store', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('publishes nothing after the lease of the hook was released, when the copies took too long', async () => {
    const { one, lease, fileOf } = await decided()
    const resume = await stopBefore(one, 'copy part', () => one.store.publish(lease.session))
    await lease.release()
    await expect(resume()).rejects.toEqual(refusal('out-of-sync'))
    expect(fileOf()).toBeUndefined()
  })

  it('stops the copies when the caller gives up', async () => {
    const { one, lease, fileOf } = await decided()
    const controller = new AbortController()
    const { signal } = controller
    const resume = await stopBefore(one, 'copy part', () => one.store.publish(lease.session, { signal }))
    controller.abort(gaveUp)
    await expect(resume()).rejects.toThrow()
    await lease.release()
    expect(fileOf()).toBeUndefined()
  })

  it('does not put a lease back that was removed while its renewal was about to be sent', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { one, id, lease, recordOf } = await decided()
    const resume = await stopBefore(one, 'PUT record rejected', () =>
      one.store.reject(lease.session, 'a virus'),
    )
    await vi.advanceTimersByTimeAsync(patient.renew)
    await resume()
    await lease.release()
    expect(recordOf(id)).toMatchObject({ rejected: 'a virus' })
    expect(one.requests).not.toContain('PUT record lease rejected')
    expect(recordOf(id)).not.toHaveProperty('lease')
  })

  it('does not remove a session later, when the caller no longer waits', async () => {
    const { other, id, lease, recordOf } = await decided()
    const controller = new AbortController()
    const removing = other.store.remove(await loaded(other.store, id), { signal: controller.signal })
    removing.catch(() => {})
    await expect.poll(() => other.requests.length).toBeGreaterThan(4)
    controller.abort(gaveUp)
    await expect(removing).rejects.toThrow()
    await lease.release()
    expect(recordOf(id)).not.toHaveProperty('removed')
  })

  it('keeps an upload that the record may name, if the record cannot be read after a conflict', async () => {
    const { newNode, uploads } = sharedBucket({ semantics: 'S3' })
    const one = newNode()
    const session = await one.store.create(newSession())
    const options = { total: file.length, durable: false, publish: true }
    one.next('PUT record', async (send) => {
      await send()
      throw conditionFailed('the answer to the first request was lost')
    })
    one.next('GET record', async () => {
      throw new Error('connection lost')
    })
    await expect(one.store.append(session, body(file.subarray(0, 4000)), options)).rejects.toThrow()
    expect(await uploads()).toHaveLength(1)
  })
})

describe('Memory budget', () => {
  it('does not start work whose caller gave up while it waited for memory', async () => {
    const budget = new MemoryBudget(10)
    const first = withResolvers<void>()
    const running = budget.reserve(10, undefined, () => first.promise)
    const controller = new AbortController()
    const work = vi.fn(async () => {})
    const waiting = budget.reserve(10, controller.signal, work)
    const last = budget.reserve(10, undefined, async () => 'last')
    controller.abort(gaveUp)
    await expect(waiting).rejects.toBe(gaveUp)
    first.resolve()
    await running
    expect(await last).toBe('last')
    expect(work).not.toHaveBeenCalled()
  })

  it('is released when the service does not answer a read, and the caller gives up', async () => {
    const silent = new Readable({ read() {} })
    const service = { ...memoryObjectService(), read: () => silent }
    const controller = new AbortController()
    const reading = readIntoMemory(service, [{ key: 'a', size: 1 }], { signal: controller.signal })
    controller.abort(gaveUp)
    await expect(reading).rejects.toBe(gaveUp)
    expect(silent.destroyed).toBe(true)
  })
})

describe('list()', () => {
  it('lists all sessions, and then rejects, when the rest of a removed one cannot be removed', async () => {
    const { one, id, lease, service } = await decided()
    await lease.release()
    const failing = storeOn({ ...service, list: failingList(service, id) })
    await expect(failing.remove(await loaded(one.store, id))).rejects.toThrow('connection lost')
    // They come after the removed one.
    const ids = ['{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFF1}', '{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFF2}']
    for (const other of ids) await one.store.create(newSession({ id: other }))
    const listed: string[] = []
    const list = async (): Promise<void> => {
      for await (const session of failing.list()) listed.push(session.id)
    }
    await expect(list()).rejects.toThrow('connection lost')
    expect(listed).toEqual(ids)
  })
})

/** Fails for the objects of one session. */
const failingList = (service: ObjectService, id: string): ObjectService['list'] =>
  async function* (prefix, options) {
    if (prefix.includes(id)) throw new Error('connection lost')
    yield* service.list(prefix, options)
  }

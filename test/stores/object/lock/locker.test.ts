import { describe, expect, it, vi } from 'vitest'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { lockSection } from '../../../../lib/testing/lock.ts'
import { withResolvers } from '../../../support/promise.ts'
import {
  count,
  findHolder,
  foldersIn,
  holderIn,
  keysIn,
  lockerFixture,
  newFarm,
  serviceSemantics,
} from './farm.ts'
import { unreachable } from './recording-service.ts'

const [, longestPoll] = defaultTiming.poll

describe.each(serviceSemantics)('Object locker (%s semantics)', (semantics) => {
  describe('contract of Store.locker', () => {
    for (const { title, run } of lockSection.tests) {
      it(title, async () => {
        const { clock, node } = newFarm(semantics)
        await clock.settle(run(...lockerFixture(() => node().locker)), 60_000)
      })
    }
  })

  it('sends one heartbeat and one poll of release requests per interval for 1000 locks', async () => {
    const { clock, node } = newFarm(semantics)
    const one = node()
    const { locker, service } = one
    const names = Array.from({ length: 1000 }, (_, i) => `name ${i}`)
    const locks = await Promise.all(names.map((name) => locker.acquire(name)))
    expect(count(one, /^put locks/)).toBe(1000)
    expect(count(one, /^put nodes/)).toBe(1)
    expect(count(one, /^get|^head|^remove/)).toBe(0)
    service.requests.length = 0
    await clock.advance(5 * defaultTiming.heartbeatInterval)
    expect(count(one, /^put nodes/)).toBe(5)
    expect(count(one, /^list wants/)).toBe(
      (5 * defaultTiming.heartbeatInterval) / defaultTiming.releasePollInterval,
    )
    expect(service.requests).toHaveLength(
      5 + (5 * defaultTiming.heartbeatInterval) / defaultTiming.releasePollInterval,
    )
    service.requests.length = 0
    await Promise.all(locks.map((lock) => lock.release()))
    expect(count(one, /^remove locks/)).toBe(1000)
    expect(count(one, /^put locks|^get|^head/)).toBe(0)
  })

  it('sends no requests and keeps no objects while idle', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [idle, busy] = [node(), node()]
    for (let time = 0; time < 2; time += 1) {
      await (await idle.locker.acquire('a')).release()
      await clock.advance(defaultTiming.idleTtl)
      expect(await keysIn(service)).toEqual([])
    }
    await busy.locker.acquire('b')
    const before = idle.service.requests.length
    await clock.advance(10 * defaultTiming.heartbeatInterval)
    expect(idle.service.requests).toHaveLength(before)
    expect(await foldersIn(service)).toEqual(['locks', 'nodes'])
    // After it was idle twice it sends as many requests as the other node.
    await idle.locker.acquire('a')
    for (const { service } of [idle, busy]) service.requests.length = 0
    await clock.advance(5 * defaultTiming.heartbeatInterval)
    for (const one of [idle, busy]) {
      expect(count(one, /^put nodes/)).toBe(5)
      expect(count(one, /^list wants/)).toBe(
        (5 * defaultTiming.heartbeatInterval) / defaultTiming.releasePollInterval,
      )
    }
  })

  it('aborts a waiting acquire() when signal is a getter of the request class', async () => {
    const { locker } = newFarm(semantics).node()
    const controller = new AbortController()
    class Request {
      get signal(): AbortSignal {
        return controller.signal
      }
    }
    const lock = await locker.acquire('a')
    const waiting = locker.acquire('a', new Request())
    controller.abort(new Error('the client is gone'))
    await expect(waiting).rejects.toThrow('the client is gone')
    await lock.release()
  })

  it('uses one lease for ten locks acquired one after the other within the idle TTL', async () => {
    const { service, clock, node } = newFarm(semantics)
    const one = node()
    const ids = new Set<string>()
    const gap = defaultTiming.idleTtl - 100
    for (let packet = 0; packet < 10; packet += 1) {
      const lock = await one.locker.acquire('a')
      ids.add((await holderIn(service, 'a')).node)
      await lock.release()
      await clock.advance(gap)
    }
    expect(ids.size).toBe(1)
    expect(count(one, /^put nodes/)).toBe(1 + Math.floor((10 * gap) / defaultTiming.heartbeatInterval))
    expect(count(one, /^put locks/)).toBe(10)
    expect(count(one, /^remove/)).toBe(10)
  })

  it('deletes all objects of an aborted acquire()', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const onReleaseRequested = vi.fn()
    const lock = await one.locker.acquire('a', { onReleaseRequested })
    const controller = new AbortController()
    const reason = new Error('the client is gone')
    const waiting = other.locker.acquire('a', { signal: controller.signal })
    await clock.advance(defaultTiming.releasePollInterval)
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await clock.advance(defaultTiming.idleTtl)
    expect(await foldersIn(service)).toEqual(['locks', 'nodes'])
    await lock.release()
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(service)).toEqual([])
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
  })

  it('rejects an aborted acquire() at once and releases a lock that is acquired later', async () => {
    const { service: shared, clock, node } = newFarm(semantics)
    const { locker, service } = node()
    const written = withResolvers<void>()
    const answered = withResolvers<void>()
    service.intercept(/^put locks/, async (run) => {
      const version = await run()
      written.resolve()
      await answered.promise
      return version
    })
    const controller = new AbortController()
    const reason = new Error('the client is gone')
    const waiting = locker.acquire('a', { signal: controller.signal })
    await written.promise
    expect(await findHolder(shared, 'a')).toBeDefined()
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    answered.resolve()
    service.restore()
    await clock.advance(0)
    expect(await findHolder(shared, 'a')).toBeUndefined()
    await (await locker.acquire('a')).release()
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(shared)).toEqual([])
  })

  it('sends no lock request for an acquire() that is aborted immediately', async () => {
    const { clock, node } = newFarm(semantics)
    const one = node()
    const { locker } = one
    const reason = new Error('the client is gone')
    await expect(locker.acquire('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const lock = await locker.acquire('a')
    const before = count(one, /locks/)
    const controller = new AbortController()
    const waiting = locker.acquire('a', { signal: controller.signal })
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await clock.advance(longestPoll)
    expect(count(one, /locks/)).toBe(before)
    await lock.release()
  })

  it('does not call onReleaseRequested for a release request that was sent to an earlier holder', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const [first, second] = [vi.fn(), vi.fn()]
    const lock = await one.locker.acquire('a', { onReleaseRequested: first })
    one.service.intercept(/^list wants/, unreachable)
    const controller = new AbortController()
    const waiting = other.locker.acquire('a', { signal: controller.signal })
    await clock.advance(0)
    expect(await foldersIn(service)).toContain('wants')
    controller.abort(new Error('the client is gone'))
    await expect(waiting).rejects.toThrow('the client is gone')
    await lock.release()
    const next = await one.locker.acquire('a', { onReleaseRequested: second })
    one.service.restore()
    await clock.advance(defaultTiming.releasePollInterval)
    expect(await foldersIn(service)).not.toContain('wants')
    expect(second).not.toHaveBeenCalled()
    expect(first).not.toHaveBeenCalled()
    await next.release()
  })

  it('keeps the lock of another node unchanged on a release request for its earlier holder', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    await one.locker.acquire('b')
    one.service.intercept(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await clock.advance(0)
    expect(await foldersIn(service)).toContain('wants')
    await lock.release()
    await clock.settle(waiting, longestPoll)
    const current = await holderIn(service, 'a')
    one.service.restore()
    await clock.advance(defaultTiming.releasePollInterval)
    expect(await foldersIn(service)).not.toContain('wants')
    expect(await findHolder(service, 'a')).toEqual(current)
  })

  it('deletes release requests that it has not read when it becomes idle', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    one.service.intercept(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await clock.advance(0)
    await lock.release()
    await clock.settle(waiting, longestPoll)
    expect(await foldersIn(service)).toContain('wants')
    await clock.advance(defaultTiming.idleTtl - longestPoll)
    one.service.restore()
    await clock.advance(longestPoll)
    expect(await foldersIn(service)).toEqual(['locks', 'nodes'])
  })

  it('shares the heartbeat checks of the holder among 20 waiting requests', async () => {
    const { clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const names = Array.from({ length: 20 }, (_, i) => `name ${i}`)
    const locks = await Promise.all(names.map((name) => one.locker.acquire(name)))
    const waiting = names.map((name) => other.locker.acquire(name))
    await clock.advance(5 * defaultTiming.heartbeatInterval)
    expect(count(other, /^put wants/)).toBe(20)
    other.service.requests.length = 0
    await clock.advance(5 * defaultTiming.heartbeatInterval)
    // Each request reads its lock once per second. The heartbeat is read once for all.
    expect(count(other, /^get locks/)).toBe((20 * 5 * defaultTiming.heartbeatInterval) / longestPoll)
    expect(count(other, /^get nodes/)).toBe((5 * defaultTiming.heartbeatInterval) / longestPoll)
    expect(count(other, /^put (locks|wants)/)).toBe(0)
    await Promise.all(locks.map((lock) => lock.release()))
    for (const lock of await clock.settle(Promise.all(waiting), longestPoll)) await lock.release()
  })
})

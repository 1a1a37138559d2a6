import { describe, expect, it, vi } from 'vitest'
import type { Lock } from '../../../../lib/locks/locker.ts'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { ManualClock } from '../../../support/manual-clock.ts'
import { withResolvers } from '../../../support/promise.ts'
import {
  count,
  findHolder,
  foldersIn,
  holderIn,
  keysIn,
  kill,
  newFarm,
  serviceSemantics,
  type TestedNode,
} from './farm.ts'
import { unreachable } from './recording-service.ts'

const [, longestPoll] = defaultTiming.poll
/**
 * The most time that a waiting request needs to see a change: the interval of its polls and of heartbeat
 * checks.
 */
const reactionTime = longestPoll + defaultTiming.heartbeatInterval / 2

/**
 * Polls with tryAcquire(), which sends no release request, until it returns the lock. Returns how long that
 * took, too.
 */
async function acquireSilently({ locker, clock }: TestedNode): Promise<{ lock: Lock; elapsed: number }> {
  for (
    let elapsed = 0;
    elapsed <= 2 * defaultTiming.failureTimeout;
    elapsed += defaultTiming.heartbeatInterval / 2
  ) {
    const lock = await locker.tryAcquire('a')
    if (lock) return { lock, elapsed }
    await clock.advance(defaultTiming.heartbeatInterval / 2)
  }
  throw new Error('tryAcquire() did not return the lock in twice the failure timeout')
}

describe.each(serviceSemantics)('Object locker after node failures (%s semantics)', (semantics) => {
  it('acquires the lock of a killed process when its heartbeat has not changed for the failure timeout', async () => {
    const { clock, node } = newFarm(semantics)
    const [holder, other] = [node(new ManualClock()), node()]
    const onReleaseRequested = vi.fn()
    await holder.locker.acquire('a', { onReleaseRequested })
    const waiting = other.locker.acquire('a')
    await clock.advance(0)
    await holder.clock.advance(defaultTiming.releasePollInterval)
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    kill(holder)
    await (await clock.settle(waiting, defaultTiming.failureTimeout + reactionTime)).release()
    expect(clock.monotonic()).toBeGreaterThanOrEqual(defaultTiming.failureTimeout)
  })

  it('grants the lock of a killed process to one node when two take it over at the same time', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [holder, fast, slow] = [node(new ManualClock()), node(), node()]
    await holder.locker.acquire('a')
    kill(holder)
    const acquired = vi.fn()
    const waiting = slow.locker.acquire('a').then(acquired)
    await clock.advance(0)
    const sent = withResolvers<void>()
    const late = withResolvers<void>()
    slow.service.intercept(/^put locks/, async (run) => {
      sent.resolve()
      await late.promise
      return run()
    })
    await clock.settle(sent.promise, defaultTiming.failureTimeout + reactionTime)
    // The other node reads the heartbeat for the first time, and writes its lock before the delayed request.
    const lock = await clock.settle(fast.locker.acquire('a'), defaultTiming.failureTimeout + reactionTime)
    const current = await holderIn(service, 'a')
    late.resolve()
    await clock.advance(longestPoll)
    expect(acquired).not.toHaveBeenCalled()
    expect(await holderIn(service, 'a')).toEqual(current)
    await lock.release()
    await clock.settle(waiting, longestPoll)
  })

  it('returns the lock of a killed process from tryAcquire() after the failure timeout', async () => {
    const { node } = newFarm(semantics)
    const [holder, other] = [node(new ManualClock()), node()]
    await holder.locker.acquire('a')
    kill(holder)
    const { lock, elapsed } = await acquireSilently(other)
    expect(elapsed).toBe(defaultTiming.failureTimeout)
    await lock.release()
  })

  it('does not acquire the lock of a running process, however long it is held', async () => {
    const { clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    const acquired = vi.fn()
    const waiting = other.locker.acquire('a').then((next) => {
      acquired()
      return next
    })
    await clock.advance(3 * defaultTiming.failureTimeout)
    expect(acquired).not.toHaveBeenCalled()
    await lock.release()
    await (await clock.settle(waiting, reactionTime)).release()
  })

  it('acquires a lock without a release request when its node has no heartbeat object', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(new ManualClock()), node()]
    await one.locker.acquire('a')
    await one.locker.acquire('b')
    await service.remove([`.bits-sessions/nodes/${(await holderIn(service, 'a')).node}`])
    expect(await other.locker.tryAcquire('a')).toBeDefined()
    await (await clock.settle(other.locker.acquire('b'), defaultTiming.poll[0])).release()
    expect(count(other, /^put wants/)).toBe(0)
  })

  it('keeps a lock that was taken over when the stopped holder continues and releases it', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [holder, other] = [node(new ManualClock()), node()]
    const onReleaseRequested = vi.fn()
    const lost = await holder.locker.acquire('a', { onReleaseRequested })
    const lock = await clock.settle(other.locker.acquire('a'), defaultTiming.failureTimeout + reactionTime)
    const current = await holderIn(service, 'a')
    holder.clock.jump(clock.monotonic())
    await holder.clock.advance(0)
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    await lost.release()
    expect(await holderIn(service, 'a')).toEqual(current)
    expect(await node().locker.tryAcquire('a')).toBeUndefined()
    await lock.release()
  })

  it('keeps a lock that was taken over when the stopped holder releases it before its timers fire', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [holder, other] = [node(new ManualClock()), node()]
    const lost = await holder.locker.acquire('a')
    await clock.settle(other.locker.acquire('a'), defaultTiming.failureTimeout + reactionTime)
    const current = await holderIn(service, 'a')
    holder.clock.jump(clock.monotonic())
    await lost.release()
    expect(await holderIn(service, 'a')).toEqual(current)
  })

  it('removes the lock of a stopped process that continues and releases it when no other acquired it', async () => {
    const { service, node } = newFarm(semantics)
    const holder = node(new ManualClock())
    const lock = await holder.locker.acquire('a')
    holder.clock.jump(1.2 * defaultTiming.failureTimeout)
    await holder.clock.advance(0)
    await lock.release()
    expect(await foldersIn(service)).not.toContain('locks')
    expect(await node().locker.tryAcquire('a')).toBeDefined()
  })

  it.each(['fail', 'are sent too late'])(
    'calls onReleaseRequested and gives the holder a new id when its heartbeats %s',
    async (fault) => {
      const { service, node } = newFarm(semantics)
      const one = fault === 'fail' ? node() : node(new ManualClock())
      const other = node()
      const onReleaseRequested = vi.fn()
      const lock = await one.locker.acquire('a', { onReleaseRequested })
      const before = await holderIn(service, 'a')
      if (fault === 'fail') one.service.intercept(/^put nodes/, unreachable)
      const { lock: next, elapsed } = await acquireSilently(other)
      const current = await holderIn(service, 'a')
      one.service.restore()
      if (fault !== 'fail') one.clock.jump(elapsed)
      await one.clock.advance(0)
      expect(onReleaseRequested).toHaveBeenCalledTimes(1)
      // The node acquires locks again, but not the one that it lost.
      await one.locker.acquire('b')
      await lock.release()
      expect(await holderIn(service, 'a')).toEqual(current)
      await next.release()
      await one.locker.acquire('a')
      const after = await holderIn(service, 'a')
      expect([before.node, current.node]).not.toContain(after.node)
      expect(await keysIn(service)).not.toContain(`nodes/${before.node}`)
      expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    },
  )

  it('acquires a lock again under a new id when the request took longer than the failure timeout', async () => {
    const { service: shared, clock, node } = newFarm(semantics)
    const { locker, service } = node()
    const answered = withResolvers<void>()
    service.intercept(/^put nodes/, (run) => {
      service.intercept(/^put nodes/, unreachable)
      return run()
    })
    let slow = true
    service.intercept(/^put locks/, async (run) => {
      const result = await run()
      if (slow) await answered.promise
      slow = false
      return result
    })
    const acquiring = locker.acquire('a')
    await clock.advance(0)
    const first = await holderIn(shared, 'a')
    await clock.advance(defaultTiming.failureTimeout)
    service.restore()
    answered.resolve()
    await clock.settle(acquiring, 0)
    const second = await holderIn(shared, 'a')
    expect(second.node).not.toBe(first.node)
    expect(await keysIn(shared)).toContain(`nodes/${second.node}`)
    expect(await node().locker.tryAcquire('a')).toBeUndefined()
  })

  it('removes the objects of failed nodes on clear(), and none of live nodes', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [alive, failed, other] = [node(), node(new ManualClock()), node()]
    await failed.locker.acquire('a')
    await alive.locker.acquire('b')
    const live = await holderIn(service, 'b')
    kill(failed)
    const controller = new AbortController()
    const waiting = other.locker.acquire('a', { signal: controller.signal })
    await clock.advance(0)
    expect(await foldersIn(service)).toContain('wants')
    controller.abort(new Error('the client is gone'))
    await expect(waiting).rejects.toThrow('the client is gone')
    await clock.advance(defaultTiming.failureTimeout / 2)
    await other.locker.clear()
    expect(await findHolder(service, 'a')).toBeDefined()
    await clock.advance(defaultTiming.failureTimeout / 2)
    await other.locker.clear()
    expect(await keysIn(service)).toContain(`nodes/${live.node}`)
    await clock.advance(defaultTiming.idleTtl)
    expect(await foldersIn(service)).toEqual(['locks', 'nodes'])
    expect(await findHolder(service, 'b')).toEqual(live)
    expect(await other.locker.tryAcquire('b')).toBeUndefined()
  })
})

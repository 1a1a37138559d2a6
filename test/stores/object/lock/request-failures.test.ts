import { describe, expect, it, vi } from 'vitest'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { withResolvers } from '../../../support/promise.ts'
import { count, findHolder, foldersIn, holderIn, keysIn, newFarm, serviceSemantics } from './farm.ts'
import { hanging, responseLost, unreachable } from './recording-service.ts'

/** The most time from a release to the end of a wait for the lock. */
const [, longestPoll] = defaultTiming.poll
/** The most time until a node that is asked to release a lock has done so, and the other node has it. */
const releaseTime = defaultTiming.releasePollInterval + longestPoll

describe.each(serviceSemantics)('Object locker after failed requests (%s semantics)', (semantics) => {
  /** Two nodes, the first of which holds lock `b`. */
  const two = async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const b = await one.locker.acquire('b')
    return { service, clock, one, other, b }
  }

  it('acquires a lock that was written although the response was lost', async () => {
    const { service, one, other } = await two()
    one.service.intercept(/^put locks/, responseLost)
    const lock = await one.locker.acquire('a')
    expect(await other.locker.tryAcquire('a')).toBeUndefined()
    await lock.release()
    expect(await findHolder(service, 'a')).toBeUndefined()
  })

  it('rejects acquire() and tryAcquire() when the lock may exist, and acquires it on the next request', async () => {
    const { service, clock, one, other } = await two()
    one.service.intercept(/^put locks/, responseLost)
    one.service.intercept(/^get locks/, unreachable)
    await expect(one.locker.acquire('a')).rejects.toThrow('socket hang up')
    await expect(one.locker.tryAcquire('c')).rejects.toThrow('socket hang up')
    one.service.restore()
    await holderIn(service, 'a')
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
    await holderIn(service, 'c')
    await (await clock.settle(one.locker.acquire('c'), longestPoll)).release()
  })

  it('releases a lock that was written after acquire() rejected when another node requests it', async () => {
    const { service, clock, one, other } = await two()
    const late = withResolvers<() => Promise<unknown>>()
    one.service.intercept(/^put locks/, async (run) => {
      late.resolve(run)
      throw new Error('timeout')
    })
    await expect(one.locker.acquire('a')).rejects.toThrow('timeout')
    await (await late.promise)()
    await holderIn(service, 'a')
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
  })

  it('releases a lock whose removal failed when the same or another node requests it', async () => {
    const { service, clock, one, other } = await two()
    for (const next of [one, other]) {
      const lock = await one.locker.acquire('a')
      one.service.intercept(/^remove locks/, unreachable)
      await lock.release()
      const remaining = await holderIn(service, 'a')
      one.service.restore()
      const again = await clock.settle(next.locker.acquire('a'), releaseTime)
      expect(await holderIn(service, 'a')).not.toEqual(remaining)
      await again.release()
    }
  })

  it('removes a lock whose removal failed on clear() of the same node', async () => {
    const { service, one, other } = await two()
    const lock = await one.locker.acquire('a')
    one.service.intercept(/^remove locks/, unreachable)
    await lock.release()
    one.service.restore()
    await other.locker.clear()
    await holderIn(service, 'a')
    await one.locker.clear()
    expect(await findHolder(service, 'a')).toBeUndefined()
    await holderIn(service, 'b')
  })

  it('frees a lock whose removal failed when its node has been idle for the idle TTL', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    one.service.intercept(/^remove locks/, unreachable)
    await lock.release()
    expect(await other.locker.tryAcquire('a')).toBeUndefined()
    await clock.advance(defaultTiming.idleTtl)
    const next = await other.locker.tryAcquire('a')
    expect(next).toBeDefined()
    await next?.release()
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(service)).toEqual([])
  })

  it('resolves release() within half the failure timeout when the service does not answer', async () => {
    const { service, clock, node } = newFarm(semantics)
    const one = node()
    const lock = await one.locker.acquire('a')
    one.service.intercept(/^remove locks/, hanging)
    await clock.settle(lock.release(), defaultTiming.failureTimeout / 2)
    await holderIn(service, 'a')
    one.service.restore()
    await (await clock.settle(one.locker.acquire('a'), longestPoll)).release()
    expect(await findHolder(service, 'a')).toBeUndefined()
  })

  it.each(['is not answered', 'is answered after the failure timeout'])(
    'keeps the lease of the node by later heartbeats when one %s',
    async (fault) => {
      const { service, clock, node } = newFarm(semantics)
      const [one, other] = [node(), node()]
      const lock = await one.locker.acquire('a')
      const { node: id } = await holderIn(service, 'a')
      const late = withResolvers<void>()
      one.service.intercept(/^put nodes/, async (run, signal) => {
        one.service.restore()
        if (fault === 'is not answered') return hanging(run, signal)
        const version = await run()
        await late.promise
        return version
      })
      const acquired = vi.fn()
      const waiting = other.locker.acquire('a').then((next) => {
        acquired()
        return next
      })
      await clock.advance(defaultTiming.heartbeatInterval + defaultTiming.failureTimeout)
      late.resolve()
      await clock.advance(defaultTiming.failureTimeout)
      expect(count(one, /^put nodes/)).toBe(
        1 +
          (defaultTiming.heartbeatInterval + 2 * defaultTiming.failureTimeout) /
            defaultTiming.heartbeatInterval,
      )
      expect(acquired).not.toHaveBeenCalled()
      expect((await holderIn(service, 'a')).node).toBe(id)
      expect(await keysIn(service)).toContain(`nodes/${id}`)
      await lock.release()
      await (await clock.settle(waiting, longestPoll)).release()
      await clock.advance(defaultTiming.idleTtl)
      expect(await keysIn(service)).toEqual([])
    },
  )

  it('removes the heartbeat object when a heartbeat is carried out after the end of the idle TTL', async () => {
    const { service, clock, node } = newFarm(semantics)
    const one = node()
    const lock = await one.locker.acquire('a')
    const late = withResolvers<void>()
    one.service.intercept(/^put nodes/, async (run) => {
      await late.promise
      return run()
    })
    await clock.advance(defaultTiming.heartbeatInterval)
    await lock.release()
    await clock.advance(defaultTiming.idleTtl)
    late.resolve()
    await clock.advance(0)
    expect(await keysIn(service)).toEqual([])
  })

  it('releases a lock that was acquired again to release it, when its removal failed', async () => {
    const { service, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    await one.locker.acquire('b')
    const before = await holderIn(service, 'a')
    // The lease is valid, but too old to remove the lock without a check.
    clock.jump(defaultTiming.failureTimeout / 2)
    one.service.intercept(/^remove locks/, unreachable)
    await lock.release()
    one.service.restore()
    expect((await holderIn(service, 'a')).token).not.toBe(before.token)
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
  })

  it('rejects acquire() and tryAcquire() with the error of the service, and holds no lock afterwards', async () => {
    const { service, clock, node } = newFarm(semantics)
    const one = node()
    for (const request of [/^put nodes/, /^put locks/, /^get locks/]) {
      one.service.intercept(request, unreachable)
      if (request.test('get locks')) one.service.intercept(/^put locks/, unreachable)
      await expect(one.locker.acquire('a')).rejects.toThrow('ECONNREFUSED')
      await expect(one.locker.tryAcquire('a')).rejects.toThrow('ECONNREFUSED')
      one.service.restore()
      await (await one.locker.acquire('a')).release()
    }
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(service)).toEqual([])
  })

  it.each(['get locks', 'get nodes', 'put wants'])(
    'rejects a waiting acquire() when the request "%s" fails, and acquires the lock later',
    async (request) => {
      const { clock, one, other, b } = await two()
      other.service.intercept(new RegExp(request), unreachable)
      const failing = clock.settle(other.locker.acquire('b'), longestPoll)
      await expect(failing).rejects.toThrow('ECONNREFUSED')
      other.service.restore()
      const waiting = other.locker.acquire('b')
      await clock.advance(0)
      await b.release()
      await (await clock.settle(waiting, longestPoll)).release()
      await (await one.locker.acquire('b')).release()
    },
  )

  it('calls onReleaseRequested when a release request is read after failed polls', async () => {
    const { service, clock, one, other } = await two()
    const onReleaseRequested = vi.fn()
    const lock = await one.locker.acquire('a', { onReleaseRequested })
    one.service.intercept(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await clock.advance(3 * defaultTiming.releasePollInterval)
    expect(await foldersIn(service)).toContain('wants')
    expect(count(one, /^list wants/)).toBe(3)
    expect(onReleaseRequested).not.toHaveBeenCalled()
    one.service.restore()
    await clock.advance(defaultTiming.releasePollInterval)
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    await lock.release()
    await (await clock.settle(waiting, longestPoll)).release()
  })
})

import { describe, expect, it, vi } from 'vitest'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { withResolvers } from '../../../support/promise.ts'
import { count, findHolder, foldersIn, holderIn, keysIn, newFarm, services } from './setting.ts'
import { answerLost, hanging, unreachable } from './watched-service.ts'

/** The most time from a release to the end of a wait for the lock. */
const [, longestPoll] = defaultTiming.poll
/** The most time until a node that is asked to release a lock has done so, and the other node has it. */
const releaseTime = defaultTiming.releasePollInterval + longestPoll

describe.each(services)('Object locker after failed requests (%s semantics)', (semantics) => {
  /** Two nodes, the first of which holds lock `b`. */
  const two = async () => {
    const { space, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const b = await one.locker.acquire('b')
    return { space, clock, one, other, b }
  }

  it('acquires a lock that was written although the answer was lost', async () => {
    const { space, one, other } = await two()
    one.space.intercept(/^put locks/, answerLost)
    const lock = await one.locker.acquire('a')
    expect(await other.locker.tryAcquire('a')).toBeUndefined()
    await lock.release()
    expect(await findHolder(space, 'a')).toBeUndefined()
  })

  it('rejects acquire() and tryAcquire() when the lock may exist, and acquires it on the next request', async () => {
    const { space, clock, one, other } = await two()
    one.space.intercept(/^put locks/, answerLost)
    one.space.intercept(/^get locks/, unreachable)
    await expect(one.locker.acquire('a')).rejects.toThrow('socket hang up')
    await expect(one.locker.tryAcquire('c')).rejects.toThrow('socket hang up')
    one.space.restore()
    await holderIn(space, 'a')
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
    await holderIn(space, 'c')
    await (await clock.settle(one.locker.acquire('c'), longestPoll)).release()
  })

  it('releases a lock that was written after acquire() rejected when another node requests it', async () => {
    const { space, clock, one, other } = await two()
    const late = withResolvers<() => Promise<unknown>>()
    one.space.intercept(/^put locks/, async (run) => {
      late.resolve(run)
      throw new Error('timeout')
    })
    await expect(one.locker.acquire('a')).rejects.toThrow('timeout')
    await (await late.promise)()
    await holderIn(space, 'a')
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
  })

  it('releases a lock whose removal failed when the same or another node requests it', async () => {
    const { space, clock, one, other } = await two()
    for (const next of [one, other]) {
      const lock = await one.locker.acquire('a')
      one.space.intercept(/^remove locks/, unreachable)
      await lock.release()
      const left = await holderIn(space, 'a')
      one.space.restore()
      const again = await clock.settle(next.locker.acquire('a'), releaseTime)
      expect(await holderIn(space, 'a')).not.toEqual(left)
      await again.release()
    }
  })

  it('removes a lock whose removal failed on clear() of the same node', async () => {
    const { space, one, other } = await two()
    const lock = await one.locker.acquire('a')
    one.space.intercept(/^remove locks/, unreachable)
    await lock.release()
    one.space.restore()
    await other.locker.clear()
    await holderIn(space, 'a')
    await one.locker.clear()
    expect(await findHolder(space, 'a')).toBeUndefined()
    await holderIn(space, 'b')
  })

  it('frees a lock whose removal failed when its node has been idle for the linger time', async () => {
    const { space, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    one.space.intercept(/^remove locks/, unreachable)
    await lock.release()
    expect(await other.locker.tryAcquire('a')).toBeUndefined()
    await clock.advance(defaultTiming.idleTtl)
    const next = await other.locker.tryAcquire('a')
    expect(next).toBeDefined()
    await next?.release()
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(space)).toEqual([])
  })

  it('resolves release() within half the failure timeout when the service does not answer', async () => {
    const { space, clock, node } = newFarm(semantics)
    const one = node()
    const lock = await one.locker.acquire('a')
    one.space.intercept(/^remove locks/, hanging)
    await clock.settle(lock.release(), defaultTiming.failureTimeout / 2)
    await holderIn(space, 'a')
    one.space.restore()
    await (await clock.settle(one.locker.acquire('a'), longestPoll)).release()
    expect(await findHolder(space, 'a')).toBeUndefined()
  })

  it.each(['is not answered', 'is answered after the failure timeout'])(
    'keeps the lease of the node by later heartbeats when one %s',
    async (fault) => {
      const { space, clock, node } = newFarm(semantics)
      const [one, other] = [node(), node()]
      const lock = await one.locker.acquire('a')
      const { node: id } = await holderIn(space, 'a')
      const late = withResolvers<void>()
      one.space.intercept(/^put nodes/, async (run, signal) => {
        one.space.restore()
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
      expect((await holderIn(space, 'a')).node).toBe(id)
      expect(await keysIn(space)).toContain(`nodes/${id}`)
      await lock.release()
      await (await clock.settle(waiting, longestPoll)).release()
      await clock.advance(defaultTiming.idleTtl)
      expect(await keysIn(space)).toEqual([])
    },
  )

  it('removes the heartbeat object when a heartbeat is carried out after the end of the linger time', async () => {
    const { space, clock, node } = newFarm(semantics)
    const one = node()
    const lock = await one.locker.acquire('a')
    const late = withResolvers<void>()
    one.space.intercept(/^put nodes/, async (run) => {
      await late.promise
      return run()
    })
    await clock.advance(defaultTiming.heartbeatInterval)
    await lock.release()
    await clock.advance(defaultTiming.idleTtl)
    late.resolve()
    await clock.advance(0)
    expect(await keysIn(space)).toEqual([])
  })

  it('releases a lock that was acquired again to release it, when its removal failed', async () => {
    const { space, clock, node } = newFarm(semantics)
    const [one, other] = [node(), node()]
    const lock = await one.locker.acquire('a')
    await one.locker.acquire('b')
    const before = await holderIn(space, 'a')
    // The lease is valid, but too old to remove the lock without a check.
    clock.jump(defaultTiming.failureTimeout / 2)
    one.space.intercept(/^remove locks/, unreachable)
    await lock.release()
    one.space.restore()
    expect((await holderIn(space, 'a')).token).not.toBe(before.token)
    await (await clock.settle(other.locker.acquire('a'), releaseTime)).release()
  })

  it('rejects acquire() and tryAcquire() with the error of the service, and holds no lock afterwards', async () => {
    const { space, clock, node } = newFarm(semantics)
    const one = node()
    for (const request of [/^put nodes/, /^put locks/, /^get locks/]) {
      one.space.intercept(request, unreachable)
      if (request.test('get locks')) one.space.intercept(/^put locks/, unreachable)
      await expect(one.locker.acquire('a')).rejects.toThrow('ECONNREFUSED')
      await expect(one.locker.tryAcquire('a')).rejects.toThrow('ECONNREFUSED')
      one.space.restore()
      await (await one.locker.acquire('a')).release()
    }
    await clock.advance(defaultTiming.idleTtl)
    expect(await keysIn(space)).toEqual([])
  })

  it.each(['get locks', 'get nodes', 'put wants'])(
    'rejects a waiting acquire() when the request "%s" fails, and acquires the lock later',
    async (request) => {
      const { clock, one, other, b } = await two()
      other.space.intercept(new RegExp(request), unreachable)
      const failing = clock.settle(other.locker.acquire('b'), longestPoll)
      await expect(failing).rejects.toThrow('ECONNREFUSED')
      other.space.restore()
      const waiting = other.locker.acquire('b')
      await clock.advance(0)
      await b.release()
      await (await clock.settle(waiting, longestPoll)).release()
      await (await one.locker.acquire('b')).release()
    },
  )

  it('calls onReleaseRequested when a release request is read after failed polls', async () => {
    const { space, clock, one, other } = await two()
    const onReleaseRequested = vi.fn()
    const lock = await one.locker.acquire('a', { onReleaseRequested })
    one.space.intercept(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await clock.advance(3 * defaultTiming.releasePollInterval)
    expect(await foldersIn(space)).toContain('wants')
    expect(count(one, /^list wants/)).toBe(3)
    expect(onReleaseRequested).not.toHaveBeenCalled()
    one.space.restore()
    await clock.advance(defaultTiming.releasePollInterval)
    expect(onReleaseRequested).toHaveBeenCalledTimes(1)
    await lock.release()
    await (await clock.settle(waiting, longestPoll)).release()
  })
})

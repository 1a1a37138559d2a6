import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { leaving } from './leavings.ts'

describe('memoryLocker', () => {
  it('grants a lock in request order, to one holder at a time', async () => {
    const locker = memoryLocker()
    const order: number[] = []
    const first = await locker.acquire('a')
    const second = locker.acquire('a').then((lock) => {
      order.push(2)
      return lock
    })
    const third = locker.acquire('a').then((lock) => {
      order.push(3)
      return lock
    })
    await locker.acquire('b') // Another session is not concerned.
    expect(order).toEqual([])
    first.release()
    const lock = await second
    expect(order).toEqual([2])
    lock.release()
    ;(await third).release()
    expect(order).toEqual([2, 3])
    expect(await locker.tryAcquire('a')).toBeDefined()
  })

  it('calls onReleaseRequested once, and immediately for a new holder when a request already waits', async () => {
    const locker = memoryLocker()
    const [one, two, three] = [vi.fn(), vi.fn(), vi.fn()]
    const first = await locker.acquire('a', { onReleaseRequested: one })
    expect(one).not.toHaveBeenCalled()
    const second = locker.acquire('a', { onReleaseRequested: two })
    const third = locker.acquire('a', { onReleaseRequested: three })
    expect(one).toHaveBeenCalledTimes(1)
    expect(two).not.toHaveBeenCalled()
    first.release()
    const lock = await second
    expect(two).toHaveBeenCalledTimes(1)
    lock.release()
    await third
    expect(three).not.toHaveBeenCalled()
  })

  it('rejects a waiting request with the abort reason', async () => {
    const locker = memoryLocker()
    const first = await locker.acquire('a')
    const controller = new AbortController()
    const second = locker.acquire('a', { signal: controller.signal })
    const third = locker.acquire('a')
    controller.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    await expect(locker.acquire('a', { signal: controller.signal })).rejects.toThrow('gone')
    first.release()
    ;(await third).release()
    expect(await locker.tryAcquire('a')).toBeDefined()
  })

  it('ignores a second release()', async () => {
    const locker = memoryLocker()
    const first = await locker.acquire('a')
    const second = locker.acquire('a')
    first.release()
    const lock = await second
    first.release()
    expect(await locker.tryAcquire('a')).toBeUndefined()
    lock.release()
    expect(await locker.tryAcquire('a')).toBeDefined()
  })
})

describe('memoryLocker leave()', () => {
  it('passes the value to the next holder of the same session and drops it once', async () => {
    const locker = memoryLocker()
    const thing = leaving()
    ;(await locker.acquire('a')).leave(thing)
    expect((await locker.acquire('b')).left).toBeUndefined()
    const second = await locker.acquire('a')
    expect(second.left).toBe(thing)
    second.leave(thing)
    await second.release()
    const third = await locker.tryAcquire('a')
    expect([third?.left, thing.drops]).toEqual([thing, 0])
    await third?.release()
    third?.leave(thing)
    locker.letGo()
    expect(thing.drops).toBe(1)
    expect((await locker.acquire('a')).left).toBeUndefined()
  })

  it('passes the value to the first waiting request', async () => {
    const locker = memoryLocker()
    const thing = leaving()
    const first = await locker.acquire('a')
    const waiting = [locker.acquire('a'), locker.acquire('a')]
    first.leave(thing)
    const second = await waiting[0]
    expect(second?.left).toBe(thing)
    await second?.release()
    expect([(await waiting[1])?.left, thing.drops]).toEqual([undefined, 1])
  })

  it('drops the value when another one replaces it', async () => {
    const locker = memoryLocker()
    const [thing, other] = [leaving(), leaving()]
    ;(await locker.acquire('a')).leave(thing)
    ;(await locker.acquire('a')).leave(other)
    expect([thing.drops, other.drops]).toEqual([1, 0])
    expect((await locker.acquire('a')).left).toBe(other)
  })

  it('drops unused values on forget() and letGo(), but no value in use', async () => {
    const locker = memoryLocker()
    const things = { a: leaving(), b: leaving(), c: leaving() }
    for (const [name, thing] of Object.entries(things)) (await locker.acquire(name)).leave(thing)
    const drops = () => Object.values(things).map((thing) => thing.drops)
    const held = await locker.acquire('a')
    locker.forget('a')
    locker.forget('b')
    expect(drops()).toEqual([0, 1, 0])
    locker.letGo()
    expect(drops()).toEqual([0, 1, 1])
    held.leave(things.a)
    expect((await locker.acquire('a')).left).toBe(things.a)
  })

  it('drops the value after one to two seconds without a next holder', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const locker = memoryLocker()
    const [early, late] = [leaving(), leaving()]
    ;(await locker.acquire('early')).leave(early)
    vi.advanceTimersByTime(999)
    ;(await locker.acquire('late')).leave(late)
    vi.advanceTimersByTime(1)
    expect([early.drops, late.drops]).toEqual([0, 0])
    vi.advanceTimersByTime(999)
    ;(await locker.acquire('late')).leave(late)
    vi.advanceTimersByTime(1)
    expect([early.drops, late.drops]).toEqual([1, 0])
    vi.advanceTimersByTime(2000)
    expect([early.drops, late.drops]).toEqual([1, 1])
    expect(vi.getTimerCount()).toBe(0)
    const again = leaving()
    ;(await locker.acquire('early')).leave(again)
    vi.advanceTimersByTime(2000)
    expect(again.drops).toBe(1)
  })

  it('keeps the values of 256 sessions and drops the oldest above that limit', async () => {
    const locker = memoryLocker()
    const things = Array.from({ length: 258 }, leaving)
    for (const [i, thing] of things.entries()) (await locker.acquire(`${i}`)).leave(thing)
    expect(things.map(({ drops }) => drops)).toEqual([1, 1, ...Array(256).fill(0)])
    expect((await locker.acquire('2')).left).toBe(things[2])
  })
})

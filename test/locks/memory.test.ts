import { describe, expect, it, vi } from 'vitest'
import { memoryLocker } from '../../lib/locks/memory.ts'

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
    await locker.acquire('b') // Another lock is not affected.
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
    controller.abort(new Error('client closed'))
    await expect(second).rejects.toThrow('client closed')
    await expect(locker.acquire('a', { signal: controller.signal })).rejects.toThrow('client closed')
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

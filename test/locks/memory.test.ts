import { describe, expect, it, vi } from 'vitest'
import { memoryLocker } from '../../lib/locks/memory.ts'

describe('memoryLocker', () => {
  it('serves one at a time, in order', async () => {
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

  it('tells the holder once that it is wanted, and a holder that was waited for at once', async () => {
    const locker = memoryLocker()
    const [one, two, three] = [vi.fn(), vi.fn(), vi.fn()]
    const first = await locker.acquire('a', { onWanted: one })
    expect(one).not.toHaveBeenCalled()
    const second = locker.acquire('a', { onWanted: two })
    const third = locker.acquire('a', { onWanted: three })
    expect(one).toHaveBeenCalledTimes(1)
    expect(two).not.toHaveBeenCalled()
    first.release()
    const lock = await second
    expect(two).toHaveBeenCalledTimes(1)
    lock.release()
    await third
    expect(three).not.toHaveBeenCalled()
  })

  it('lets those who wait give up', async () => {
    const locker = memoryLocker()
    const first = await locker.acquire('a')
    const controller = new AbortController()
    const second = locker.acquire('a', { signal: controller.signal })
    const third = locker.acquire('a')
    controller.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    await expect(locker.acquire('b', { signal: controller.signal })).rejects.toThrow('gone')
    first.release()
    ;(await third).release()
    expect(await locker.tryAcquire('a')).toBeDefined()
  })

  it('takes a second release for none', async () => {
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

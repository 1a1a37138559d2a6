import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Locker, lockKey } from '../../lib/locks/locker.ts'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { BitsError } from '../../lib/protocol/errors.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { SessionCache } from '../../lib/sessions/session-cache.ts'
import { memoryStore } from '../../lib/stores/memory.ts'
import type { Session } from '../../lib/stores/store.ts'
import { newSession } from '../support/store.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const request = { owner: undefined, path: '/upload/a.bin' }

/** A cache over a store that counts `load` and `release`, and its locker. */
function setting(locker: Locker = memoryLocker()) {
  const released: string[] = []
  const store = { ...memoryStore(), release: ({ id }: Session) => void released.push(id) }
  const load = vi.spyOn(store, 'load')
  const onError = vi.fn()
  const cache = new SessionCache(store, locker, 30_000, onError)
  const create = async (): Promise<Session> =>
    cache.create(newSession({ id: newGuid(), path: request.path }), {})
  const isFree = async (session: Session): Promise<boolean> => {
    const lock = await locker.tryAcquire(lockKey(session))
    await lock?.release()
    return lock !== undefined
  }
  return { cache, create, isFree, load, locker, onError, released, store }
}

describe('SessionCache', () => {
  it('holds the lock of a cached session, and evicts it one to two seconds after its last packet', async () => {
    const { create, isFree, released } = setting()
    const early = await create()
    vi.advanceTimersByTime(999)
    const late = await create()
    vi.advanceTimersByTime(1)
    expect([await isFree(early), await isFree(late)]).toEqual([true, false])
    expect(released).toEqual([early.id])
    vi.advanceTimersByTime(1000)
    expect(await isFree(late)).toBe(true)
    expect(released).toEqual([early.id, late.id])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('caches 256 sessions, and evicts the one that was used longest ago above that limit', async () => {
    const { cache, create, isFree, released } = setting()
    const sessions: Session[] = []
    for (let i = 0; i < 256; i += 1) sessions.push(await create())
    const [first, second] = sessions as [Session, Session]
    await cache.release(await cache.acquire(first.id, request), first)
    expect(released).toEqual([])
    await create()
    expect(released).toEqual([second.id])
    expect([await isFree(first), await isFree(second)]).toEqual([false, true])
  })

  it('evicts an idle session when another request waits for its lock', async () => {
    const { create, locker, released } = setting()
    const session = await create()
    const lock = await locker.acquire(lockKey(session))
    expect(released).toEqual([session.id])
    await lock.release()
  })

  it('interrupts a packet when another request waits, and does not cache its session', async () => {
    const { cache, create, load, locker, released } = setting()
    const session = await create()
    const interrupt = vi.fn()
    const cached = await cache.acquire(session.id, request, { interruptible: { interrupt } })
    const waiting = locker.acquire(lockKey(session))
    expect(interrupt).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'out-of-sync' }))
    await cache.release(cached, session)
    expect(released).toEqual([session.id])
    await (await waiting).release()
    expect(load).not.toHaveBeenCalled()
    await cache.release(await cache.acquire(session.id, request))
    expect(load).toHaveBeenCalledTimes(1)
  })

  it('ignores packets of another owner or path, and throws session-not-found', async () => {
    const { cache, create, released } = setting()
    const { id } = await create()
    for (const other of [
      { owner: 'ann', path: request.path },
      { owner: undefined, path: '/upload/b.bin' },
    ]) {
      await expect(cache.acquire(id, other)).rejects.toMatchObject({ code: 'session-not-found' })
    }
    expect(released).toEqual([])
  })

  it('throws session-not-found for an invalid id without a call of the store', async () => {
    const { cache, load } = setting()
    await expect(cache.acquire('../a', request)).rejects.toMatchObject({ code: 'session-not-found' })
    expect(load).not.toHaveBeenCalled()
  })

  it('releases the lock when the store fails to load or create a session', async () => {
    const { cache, create, isFree, load, store } = setting()
    const session = await create()
    await cache.clear()
    load.mockRejectedValueOnce(new Error('EIO'))
    await expect(cache.acquire(session.id, request)).rejects.toThrow('EIO')
    expect(await isFree(session)).toBe(true)
    load.mockRejectedValueOnce(new Error('EIO'))
    await expect(cache.tryAcquire(session)).rejects.toThrow('EIO')
    expect(await isFree(session)).toBe(true)
    const next = newSession({ id: newGuid() })
    vi.spyOn(store, 'create').mockRejectedValueOnce(new Error('ENOSPC'))
    await expect(cache.create(next, {})).rejects.toThrow('ENOSPC')
    expect(await isFree(next as Session)).toBe(true)
  })

  it('evicts an idle session for a sweep, and skips one in use', async () => {
    const { cache, create } = setting()
    const session = await create()
    const swept = await cache.tryAcquire(session)
    expect(swept?.session.id).toBe(session.id)
    expect(await cache.tryAcquire(session)).toBeUndefined()
    if (swept) await cache.release(swept)
  })

  it('caches nothing if the locker is not retainable', async () => {
    const { acquire, tryAcquire } = memoryLocker()
    const { cache, create, isFree, load, released } = setting({ acquire, tryAcquire })
    const session = await create()
    expect(await isFree(session)).toBe(true)
    expect(released).toEqual([session.id])
    const cached = await cache.acquire(session.id, request)
    expect(load).toHaveBeenCalledTimes(1)
    expect(await isFree(session)).toBe(false)
    await cache.release(cached, session)
    expect(await isFree(session)).toBe(true)
  })

  it('passes lockTimeout to the locker, and rejects with its error', async () => {
    const acquire = vi.fn().mockRejectedValue(new BitsError('session-busy'))
    const { cache } = setting({ acquire, tryAcquire: memoryLocker().tryAcquire })
    await expect(cache.acquire(newGuid(), request)).rejects.toMatchObject({
      code: 'session-busy',
      status: 503,
    })
    expect(acquire).toHaveBeenCalledWith(expect.anything(), expect.objectContaining({ timeout: 30_000 }))
  })

  it('reports a lock that cannot be released on eviction', async () => {
    const inner = memoryLocker()
    const release = () => Promise.reject(new Error('EIO'))
    const { cache, create, onError } = setting({ ...inner, acquire: async () => ({ release }) })
    await create()
    await cache.clear()
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('EIO'))
  })

  it('closes the session that the packet returned, not the one that it acquired', async () => {
    const { cache, create, locker, store } = setting()
    const session = await create()
    const locked = await cache.acquire(session.id, request)
    const waiting = locker.acquire(lockKey(session))
    const closed: Session[] = []
    store.release = (released) => void closed.push(released)
    const after = { ...session, received: 3 }
    await cache.release(locked, after)
    expect(closed).toEqual([after])
    await (await waiting).release()
  })

  it('releases the lock also if store.release throws', async () => {
    const { cache, create, isFree, onError, store } = setting()
    const session = await create()
    store.release = () => {
      throw new Error('a bug of the store')
    }
    await cache.clear()
    expect(await isFree(session)).toBe(true)
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('a bug of the store'))
  })
})

import type { Leaving, Lock, Locker } from '../../../lib/index.ts'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { type Broken, inFiles, inMemory } from './kit.ts'

const withLocker = (bug: string, caughtBy: string, locker: (good: Locker) => Partial<Locker>): Broken => ({
  ...inMemory(
    bug,
    caughtBy,
    () => {
      const good = memoryLocker()
      return { locker: { ...good, ...locker(good) } }
    },
    { locker: true },
  ),
  mayHang: true,
})

const comesOnce = 'locker > passes the value of leave() to the next holder and calls drop() once'
const makesRoom = 'locker > calls drop() when another leave() replaces the value, and on letGo()'

const isOnePlace = 'locker > mark() returns six hexadecimal digits that no other locker returns'

/** A locker whose locks are left in another way. */
const leaving = (good: Locker, change: (lock: Lock, id: string) => Partial<Lock>): Partial<Locker> => ({
  async acquire(id, request) {
    const lock = await good.acquire(id, request)
    return { ...lock, ...change(lock, id) }
  },
})

/** Leaves things with sessions, whoever has these meanwhile. */
function leavingWithNames(good: Locker): Partial<Locker> {
  const all = new Map<string, Leaving>()
  return leaving(good, (lock, id) => {
    const left = all.get(id)
    all.delete(id)
    return {
      left,
      async release() {
        left?.drop()
        await lock.release()
      },
      leave(thing) {
        all.set(id, thing)
        void lock.release()
      },
    }
  })
}

export const locks: Broken[] = [
  withLocker('leave() discards the value', comesOnce, (good) =>
    leaving(good, (lock) => ({ leave: () => void lock.release() })),
  ),
  withLocker('drop() is called twice', comesOnce, (good) => ({
    async tryAcquire(id) {
      const lock = await good.tryAcquire(id)
      const release = async (): Promise<void> => {
        lock?.left?.drop()
        await lock?.release()
      }
      return lock && { ...lock, release }
    },
  })),
  withLocker('leave() passes values to any session', comesOnce, (good) => {
    let last: Leaving | undefined
    return leaving(good, ({ leave }) => ({
      left: last,
      leave(thing) {
        last = thing
        leave?.(thing)
      },
    }))
  }),
  withLocker('a replaced value is not dropped', makesRoom, (good) => leavingWithNames(good)),
  withLocker('letGo() does nothing', makesRoom, () => ({ letGo: () => {} })),
  inFiles(
    'drop() is not called for other lockers',
    'locker > calls drop() before another locker acquires the lock',
    ({ locker }) => ({ ...(locker && { locker: { ...locker, ...leavingWithNames(locker) } }) }),
  ),
  withLocker(
    'a lock of begin() is not exclusive',
    'locker > grants the lock of begin() exclusively, also after leave()',
    () => ({ begin: async () => ({ release: async () => {} }) }),
  ),
  withLocker('mark() changes with every call', isOnePlace, () => {
    let last = 0xa00000
    return { mark: async () => (last++).toString(16).toUpperCase() }
  }),
  inFiles('all lockers return the same mark()', isOnePlace, ({ locker }) => ({
    ...(locker && { locker: { ...locker, mark: async () => 'ABCDEF' } }),
  })),
  withLocker(
    'acquire() grants a held lock',
    'locker > grants the lock to the next request only after the holder released it',
    () => ({
      acquire: async () => ({ release: async () => {} }),
    }),
  ),
  withLocker(
    'tryAcquire() grants a held lock',
    'locker > tryAcquire() returns undefined while the lock is held, and the lock when it is free',
    () => ({
      tryAcquire: async () => ({ release: async () => {} }),
    }),
  ),
  withLocker('all sessions share one lock', 'locker > locks different sessions independently', (good) => ({
    acquire: (_, request) => good.acquire('all', request),
  })),
  withLocker(
    'onReleaseRequested is never called',
    'locker > grants the lock to the next request only after the holder released it',
    (good) => ({
      acquire: (id, { signal } = {}) => good.acquire(id, signal && { signal }),
    }),
  ),
  withLocker(
    'onReleaseRequested misses earlier requests',
    'locker > calls onReleaseRequested of a new holder when another request already waits',
    (good) => ({
      async acquire(id, { signal, onReleaseRequested } = {}) {
        let isHeld = false
        const lock = await good.acquire(id, {
          ...(signal && { signal }),
          onReleaseRequested: () => isHeld && onReleaseRequested?.(),
        })
        isHeld = true
        return lock
      },
    }),
  ),
  withLocker(
    'onReleaseRequested is called for every request',
    'locker > calls onReleaseRequested of the holder once, and only when another request waits',
    (good) => {
      const holders = new Map<string, (() => void) | undefined>()
      return {
        async acquire(id, request = {}) {
          holders.get(id)?.()
          const lock = await good.acquire(id, request.signal && { signal: request.signal })
          holders.set(id, request.onReleaseRequested)
          return {
            release() {
              holders.delete(id)
              return lock.release()
            },
          }
        },
      }
    },
  ),
  withLocker(
    'an aborted acquire() keeps the lock',
    'locker > rejects a waiting acquire() with the abort reason and leaves no lock held',
    (good) => ({
      acquire(id, { signal, onReleaseRequested } = {}) {
        const lock = good.acquire(id, onReleaseRequested && { onReleaseRequested })
        if (!signal) return lock
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          if (signal.aborted) reject(signal.reason)
          lock.then(resolve)
        })
      },
    }),
  ),
  withLocker('a second release() frees another lock', 'locker > ignores a second release()', (good) => {
    const held = new Map<string, Lock>()
    return {
      async acquire(id, request) {
        held.set(id, await good.acquire(id, request))
        return { release: async () => held.get(id)?.release() }
      },
    }
  }),
  withLocker(
    'the last request is granted first',
    'locker > grants a lock in request order within one process',
    () => {
      const waiting = new Map<string, (() => void)[]>()
      const hold = (id: string): Lock => ({
        async release() {
          const next = waiting.get(id)?.pop()
          if (next) next()
          else waiting.delete(id)
        },
      })
      return {
        async acquire(id) {
          const others = waiting.get(id)
          if (others) await new Promise<void>((resolve) => others.push(resolve))
          else waiting.set(id, [])
          return hold(id)
        },
      }
    },
  ),
  inMemory(
    'a locker exists though unsupported',
    'locker > is present exactly if supports.locker is true, and paths() if supports.paths is true',
    () => ({
      locker: memoryLocker(),
    }),
  ),
]

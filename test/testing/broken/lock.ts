import type { Lock, Locker } from '../../../lib/index.ts'
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

const isExclusiveNew =
  'locker > grants the lock of a new session (isNew) exclusively, and to the next request after its release'
const isUnique = 'locker > idPrefix() returns six hexadecimal digits that no other locker returns'

export const locks: Broken[] = [
  withLocker('a lock with isNew is not exclusive', isExclusiveNew, (good) => ({
    acquire: async (key, request) =>
      request?.isNew ? { release: async () => {} } : good.acquire(key, request),
  })),
  withLocker('idPrefix() returns lower-case digits', isUnique, () => ({ idPrefix: async () => 'abcdef' })),
  inFiles('all lockers return the same idPrefix()', isUnique, ({ locker }) => ({
    ...(locker && { locker: { ...locker, idPrefix: async () => 'ABCDEF' } }),
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
    'locker > is present exactly if capabilities.locker is true, and paths() if capabilities.paths is true',
    () => ({
      locker: memoryLocker(),
    }),
  ),
]

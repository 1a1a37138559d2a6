import type { Leaving, Lock, Locker } from '../../../lib/index.ts'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { type Broken, inFiles, inMemory } from './kit.ts'

const withLocker = (bug: string, caughtBy: string, locker: (good: Locker) => Partial<Locker>): Broken =>
  inMemory(
    bug,
    caughtBy,
    () => {
      const good = memoryLocker()
      return { locker: { ...good, ...locker(good) } }
    },
    { locker: true },
  )

const comesOnce = 'locker > what is left with a lock comes to its next holder, and is dropped once'
const makesRoom = 'locker > what is left with a lock is dropped for what is left in its place, and by letGo()'

const isOnePlace = 'locker > a mark is six hexadecimal digits, which are of no other locker'

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
  withLocker('what is left is lost', comesOnce, (good) =>
    leaving(good, (lock) => ({ leave: () => void lock.release() })),
  ),
  withLocker('what is left is dropped twice', comesOnce, (good) => ({
    async tryAcquire(id) {
      const lock = await good.tryAcquire(id)
      const release = async (): Promise<void> => {
        lock?.left?.drop()
        await lock?.release()
      }
      return lock && { ...lock, release }
    },
  })),
  withLocker('what is left is for all sessions', comesOnce, (good) => {
    let last: Leaving | undefined
    return leaving(good, ({ leave }) => ({
      left: last,
      leave(thing) {
        last = thing
        leave?.(thing)
      },
    }))
  }),
  withLocker('what is left does not drop what was left before', makesRoom, (good) => leavingWithNames(good)),
  withLocker('letGo() lets nothing go', makesRoom, () => ({ letGo: () => {} })),
  inFiles(
    'what is left stays when another comes',
    'locker > what is left with a lock is dropped before another has it',
    ({ locker }) => ({ ...(locker && { locker: { ...locker, ...leavingWithNames(locker) } }) }),
  ),
  withLocker(
    'a session that begins is held by nobody',
    'locker > a session that begins is held by one at a time, and so it is when it was left',
    () => ({ begin: async () => ({ release: async () => {} }) }),
  ),
  withLocker('every session has a mark of its own', isOnePlace, () => {
    let last = 0xa00000
    return { mark: async () => (last++).toString(16).toUpperCase() }
  }),
  inFiles('all lockers have one mark', isOnePlace, ({ locker }) => ({
    ...(locker && { locker: { ...locker, mark: async () => 'ABCDEF' } }),
  })),
  withLocker('a lock is everybody’s', 'locker > a session is held by one at a time', () => ({
    acquire: async () => ({ release: async () => {} }),
  })),
  withLocker('tryAcquire() takes what is held', 'locker > tryAcquire() does not wait', () => ({
    tryAcquire: async () => ({ release: async () => {} }),
  })),
  withLocker('one lock is for all sessions', 'locker > sessions do not wait for each other', (good) => ({
    acquire: (_, request) => good.acquire('all', request),
  })),
  withLocker('the holder is not told', 'locker > a session is held by one at a time', (good) => ({
    acquire: (id, { signal } = {}) => good.acquire(id, signal && { signal }),
  })),
  withLocker(
    'a holder that was waited for is not told',
    'locker > a holder that was waited for when its turn came is told',
    (good) => ({
      async acquire(id, { signal, onWanted } = {}) {
        let isHeld = false
        const lock = await good.acquire(id, {
          ...(signal && { signal }),
          onWanted: () => isHeld && onWanted?.(),
        })
        isHeld = true
        return lock
      },
    }),
  ),
  withLocker(
    'the holder is told of everybody who waits',
    'locker > the holder is told when it is wanted, once, and not before',
    (good) => {
      const holders = new Map<string, (() => void) | undefined>()
      return {
        async acquire(id, request = {}) {
          holders.get(id)?.()
          const lock = await good.acquire(id, request.signal && { signal: request.signal })
          holders.set(id, request.onWanted)
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
    'who gives up waiting holds it',
    'locker > who waits may give up, and holds nothing',
    (good) => ({
      acquire(id, { signal, onWanted } = {}) {
        const lock = good.acquire(id, onWanted && { onWanted })
        if (!signal) return lock
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          if (signal.aborted) reject(signal.reason)
          lock.then(resolve)
        })
      },
    }),
  ),
  withLocker('a second release is another’s', 'locker > a second release does nothing', (good) => {
    const held = new Map<string, Lock>()
    return {
      async acquire(id, request) {
        held.set(id, await good.acquire(id, request))
        return { release: async () => held.get(id)?.release() }
      },
    }
  }),
  withLocker('who came last is served first', 'locker > who came first is served first', () => {
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
  }),
  inMemory('a locker is there, and said not to be', 'locker > what is not supported is not there', () => ({
    locker: memoryLocker(),
  })),
]

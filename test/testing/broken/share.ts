import type { Session } from '../../../lib/index.ts'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { type Broken, inFiles } from './kit.ts'

export const shared: Broken[] = [
  inFiles(
    'locks exclude the same store only',
    'locker > tryAcquire() returns undefined while the lock is held, and the lock when it is free',
    () => ({
      locker: memoryLocker(),
    }),
  ),
  inFiles(
    'load() returns a cached session',
    'two stores on the same storage > append the fragments of one upload alternately',
    (good) => {
      const seen = new Map<string, Session>()
      return {
        async load(id) {
          const session = seen.get(id) ?? (await good.load(id))
          if (session) seen.set(id, session)
          return session
        },
        async append(session, body, options) {
          seen.delete(session.id)
          return good.append(session, body, options)
        },
        async remove(session) {
          seen.delete(session.id)
          await good.remove(session)
        },
      }
    },
  ),
  inFiles(
    'load() returns removed sessions',
    'two stores on the same storage > do not find sessions that the other one removed',
    (good) => {
      const seen = new Map<string, Session>()
      return {
        async load(id) {
          const session = await good.load(id)
          if (session) seen.set(id, session)
          return seen.get(id)
        },
        async remove(session) {
          seen.delete(session.id)
          await good.remove(session)
        },
      }
    },
  ),
]

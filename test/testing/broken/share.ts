import type { Session } from '../../../lib/index.ts'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { type Broken, inFiles } from './kit.ts'

export const shared: Broken[] = [
  inFiles('locks hold in one store only', 'locker > tryAcquire() does not wait', () => ({
    locker: memoryLocker(),
  })),
  inFiles(
    'progress is remembered instead of asked for',
    'two stores on the same ground > they take turns with the fragments of one upload',
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
    'what another has removed is still there',
    'two stores on the same ground > what one removes the other does not know',
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

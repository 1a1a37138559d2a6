import { type Broken, changingSessions, inFiles, inMemory } from './kit.ts'

export const decisions: Broken[] = [
  inMemory(
    'the decision is lost after publish()',
    'accept() and reject() > load() returns the decision after publish()',
    changingSessions(({ decision, ...session }) =>
      session.state === 'published' || !decision ? session : { ...session, decision },
    ),
  ),
  inFiles(
    'the decision is lost in a restart',
    'accept() and reject() > accept() with a reply URL keeps the decision across a restart',
    (good) => {
      const ownIds = new Set<string>()
      return {
        accept(session, ...rest) {
          ownIds.add(session.id)
          return good.accept(session, ...rest)
        },
        async load(id) {
          const session = await good.load(id)
          if (!session || ownIds.has(id)) return session
          const { decision: _, ...rest } = session
          return rest.state === 'accepted' ? { ...rest, state: 'receiving' } : rest
        },
      }
    },
  ),
  inMemory(
    'accept() publishes the file',
    'accept() and reject() > accept() with no reply saves the decision and leaves the file unpublished',
    (good) => ({
      async accept(session, decision) {
        await good.accept(session, decision)
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'accept() drops the bytes',
    'accept() and reject() > accept() keeps the bytes, and publish() publishes them',
    (good) => ({
      async accept(session, decision) {
        await good.reject(session, '')
        await good.accept(session, decision)
      },
    }),
  ),
  inMemory(
    'reject() saves the reason in ASCII',
    'accept() and reject() > reject() saves the reason and keeps the session, unpublished',
    (good) => ({
      reject: (session, reason) => good.reject(session, Buffer.from(reason, 'ascii').toString()),
    }),
  ),
  inMemory(
    'reject() removes the session',
    'accept() and reject() > reject() saves the reason and keeps the session, unpublished',
    (good) => ({ reject: (session) => good.remove(session) }),
  ),
  inMemory(
    'publish() requires a reloaded session',
    'accept() and reject() > saveReply(), accept(), publish() and remove() take the session from append()',
    (good) => ({
      async publish(session) {
        const now = await good.load(session.id)
        if (now?.state !== session.state) throw new Error('The session has changed')
        await good.publish(session)
      },
    }),
  ),
]

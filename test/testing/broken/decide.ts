import { type Broken, inFiles, inMemory, telling } from './kit.ts'

export const decisions: Broken[] = [
  inMemory(
    'the acceptance is lost after publish()',
    'accept() and refuse() > load() returns the acceptance after publish()',
    telling(({ acceptance, ...session }) =>
      session.state === 'published' || !acceptance ? session : { ...session, acceptance },
    ),
  ),
  inFiles(
    'the acceptance is lost in a restart',
    'accept() and refuse() > accept() with a reply URL keeps the acceptance across a restart',
    (good) => {
      const mine = new Set<string>()
      return {
        accept(session, ...rest) {
          mine.add(session.id)
          return good.accept(session, ...rest)
        },
        async load(id) {
          const session = await good.load(id)
          if (!session || mine.has(id)) return session
          const { acceptance: _, ...lessons } = session
          return lessons.state === 'accepted' ? { ...lessons, state: 'receiving' } : lessons
        },
      }
    },
  ),
  inMemory(
    'accept() publishes the file',
    'accept() and refuse() > accept() with no reply saves the acceptance and leaves the file unpublished',
    (good) => ({
      async accept(session, acceptance) {
        await good.accept(session, acceptance)
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'accept() drops the bytes',
    'accept() and refuse() > accept() keeps the bytes, and publish() publishes them',
    (good) => ({
      async accept(session, acceptance) {
        await good.refuse(session, '')
        await good.accept(session, acceptance)
      },
    }),
  ),
  inMemory(
    'refuse() saves the reason in ASCII',
    'accept() and refuse() > refuse() saves the reason and keeps the session, unpublished',
    (good) => ({
      refuse: (session, reason) => good.refuse(session, Buffer.from(reason, 'ascii').toString()),
    }),
  ),
  inMemory(
    'refuse() removes the session',
    'accept() and refuse() > refuse() saves the reason and keeps the session, unpublished',
    (good) => ({ refuse: (session) => good.remove(session) }),
  ),
  inMemory(
    'publish() requires a reloaded session',
    'accept() and refuse() > keepReply(), accept(), publish() and remove() take the session from append()',
    (good) => ({
      async publish(session) {
        const now = await good.load(session.id)
        if (now?.state !== session.state) throw new Error('The session has changed')
        await good.publish(session)
      },
    }),
  ),
]

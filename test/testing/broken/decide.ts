import { type Broken, inFiles, inMemory, telling } from './kit.ts'

export const decisions: Broken[] = [
  inMemory(
    'the acceptance is forgotten when the file is published',
    'accept() and refuse() > what was accepted is known when it is published',
    telling(({ acceptance, ...session }) =>
      session.state === 'published' || !acceptance ? session : { ...session, acceptance },
    ),
  ),
  inFiles(
    'the acceptance is forgotten with the process',
    'accept() and refuse() > an upload was accepted with a reply elsewhere, also after a restart',
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
    'what was accepted is published at once',
    'accept() and refuse() > an upload was accepted without a reply',
    (good) => ({
      async accept(session, acceptance) {
        await good.accept(session, acceptance)
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'the bytes are dropped with the acceptance',
    'accept() and refuse() > an accepted upload still has its bytes, and is published with them',
    (good) => ({
      async accept(session, acceptance) {
        await good.refuse(session, '')
        await good.accept(session, acceptance)
      },
    }),
  ),
  inMemory(
    'the reason of a refusal is kept in ASCII',
    'accept() and refuse() > an upload was refused, and why',
    (good) => ({
      refuse: (session, reason) => good.refuse(session, Buffer.from(reason, 'ascii').toString()),
    }),
  ),
  inMemory(
    'a refused session is removed',
    'accept() and refuse() > an upload was refused, and why',
    (good) => ({ refuse: (session) => good.remove(session) }),
  ),
  inMemory(
    'the session has to be loaded anew after each step',
    'accept() and refuse() > the last packet does all with the session that append() gave it',
    (good) => ({
      async publish(session) {
        const now = await good.load(session.id)
        if (now?.state !== session.state) throw new Error('The session has changed')
        await good.publish(session)
      },
    }),
  ),
]

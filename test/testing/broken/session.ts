import { BitsError, type NewSession, type Session } from '../../../lib/index.ts'
import { type Broken, inFiles, inMemory, soon, telling } from './kit.ts'

/** What is told of a session that began. */
const begun = (session: NewSession): Session => ({
  ...session,
  state: 'receiving',
  received: 0,
  progressed: session.created,
})

export const sessions: Broken[] = [
  inMemory(
    'create() tells another size',
    'create() and load() > create() tells what load() tells',
    (good) => ({
      create: async (session) => ({ ...(await good.create(session)), maxSize: 1 }),
    }),
  ),
  inMemory(
    'create() forgets what the store needs to know',
    'create() and load() > a session may be worked on from its beginning to its end, and never be asked for',
    (good) => {
      const known = new WeakSet<Session>()
      return {
        async load(id) {
          const session = await good.load(id)
          if (session) known.add(session)
          return session
        },
        async append(session, body, options) {
          if (!known.has(session)) throw new TypeError('undefined is not a function')
          return good.append(session, body, options)
        },
      }
    },
  ),
  inFiles(
    'release() is the end of a session',
    'create() and load() > a session that was released may still be used, and released again',
    (good) => {
      const released = new WeakSet<Session>()
      return {
        release: (session) => void released.add(session),
        async append(session, body, options) {
          if (released.has(session)) throw Object.assign(new Error('EBADF'), { code: 'EBADF' })
          return good.append(session, body, options)
        },
      }
    },
  ),
  inMemory(
    'the offset is one too far',
    'append() > fragment after fragment is held, counted, and in order',
    telling((session) => ({ ...session, received: session.received + (session.received > 0 ? 1 : 0) })),
  ),
  inMemory(
    'metadata is kept in lower case, as header fields are',
    'create() and load() > ids, paths, owners and metadata are kept to the letter',
    telling(({ metadata, ...session }) =>
      metadata
        ? {
            ...session,
            metadata: Object.fromEntries(
              Object.entries(metadata).map(([name, value]) => [name.toLowerCase(), value]),
            ),
          }
        : session,
    ),
  ),
  inMemory(
    'names differ by their letters only, not by their case',
    'create() and load() > names with odd characters are published as they are',
    (good) => ({ create: (session) => good.create({ ...session, name: session.name.toLowerCase() }) }),
  ),
  inMemory(
    'names lose their folders',
    'create() and load() > names with folders are published as they are',
    (good) => ({
      create: (session) => good.create({ ...session, name: session.name.split('/').at(-1) ?? '' }),
    }),
  ),
  inMemory(
    'a session stays behind when it was refused',
    'create() and load() > a name that is taken is refused, and nothing of the session is left',
    (good) => ({
      async create(session) {
        const isTaken = good.files.has(session.name) && !session.overwrite
        const begun = await good.create(isTaken ? { ...session, overwrite: true } : session)
        if (isTaken) throw new BitsError('destination-exists')
        return begun
      },
    }),
  ),
  inMemory(
    'a taken name is no error of the protocol',
    'create() and load() > a name that is taken is refused, and nothing of the session is left',
    (good) => ({
      create: (session) =>
        good.create(session).catch(() => {
          throw new Error('EEXIST')
        }),
    }),
  ),
  inMemory(
    'sessions are known by their names',
    'create() and load() > sessions of one name may be open side by side',
    (good) => {
      const byName = new Map<string, string>()
      return {
        async create(session) {
          const earlier = byName.get(session.name)
          byName.set(session.name, session.id)
          const begun = await good.create(session)
          const replaced = earlier && (await good.load(earlier))
          if (replaced) await good.remove(replaced)
          return begun
        },
      }
    },
  ),
  inMemory(
    'load() gives the record itself',
    'create() and load() > what load() told does not change any more',
    (good) => {
      const records = new Map<string, Session>()
      return {
        async load(id) {
          const session = await good.load(id)
          if (!session) return undefined
          const record = Object.assign(records.get(id) ?? session, session)
          records.set(id, record)
          return record
        },
      }
    },
  ),
  inMemory(
    'a beginning that was given up resolves without a session',
    'create() and load() > a session whose beginning was given up is there whole, or not at all',
    (good) => ({
      async create(session, options) {
        await soon()
        return options?.signal?.aborted ? begun(session) : good.create(session)
      },
    }),
  ),
  inFiles(
    'bytes that vanished are still counted',
    'create() and load() > bytes that vanished are known to be gone, and may come again',
    telling((session) =>
      session.state === 'gone' ? { ...session, state: 'accepted', received: session.total ?? 0 } : session,
    ),
  ),
  inFiles(
    'what began is found only by whoever began it',
    'two stores on the same ground > what one begins the other finds',
    (good) => {
      const mine = new Set<string>()
      return {
        async create(session) {
          mine.add(session.id)
          return good.create(session)
        },
        load: async (id) => (mine.has(id) ? good.load(id) : undefined),
      }
    },
  ),
  inFiles(
    'the owner is known only to whoever began',
    'create() and load() > ids, paths, owners and metadata are kept to the letter over a restart',
    (good) => {
      const owners = new Map<string, string | undefined>()
      return {
        async create(session) {
          owners.set(session.id, session.owner)
          return good.create(session)
        },
        async load(id) {
          const session = await good.load(id)
          if (!session || owners.has(id)) return session
          const { owner: _, ...rest } = session
          return rest
        },
      }
    },
  ),
  inMemory(
    'progress is told in seconds',
    'create() and load() > a session that began is told whole, and holds nothing',
    telling((session) => ({ ...session, progressed: session.progressed / 1000 })),
  ),
  inMemory('an unknown id is an error', 'create() and load() > an id that is not known is none', (good) => ({
    async load(id) {
      const session = await good.load(id)
      if (!session) throw new BitsError('session-not-found')
      return session
    },
  })),
  inFiles(
    'a folder in the way is no error of the protocol',
    'create() and load() > a name that is a folder is refused, and nothing of the session is left',
    (good) => ({
      create: (session) =>
        good.create(session).catch((error) => {
          throw error.code === 'invalid-destination' ? new Error('EISDIR') : error
        }),
    }),
  ),
  ...[
    'create() and load() > a name in a folder that is not there is refused, and nothing of the session is left',
    'create() and load() > a name below a file is refused, and nothing of the session is left',
  ].map((caughtBy) =>
    inFiles('a missing folder is not missed', caughtBy, (good) => ({
      create: (session) =>
        good.create(session).catch((error) => {
          if (error.code !== 'destination-not-found') throw error
          return begun(session)
        }),
    })),
  ),
  inFiles(
    'a session without its bytes cannot be removed',
    'create() and load() > a session whose bytes vanished may be removed',
    (good) => ({
      async remove(session) {
        if (session.state === 'gone') throw new Error('ENOENT')
        await good.remove(session)
      },
    }),
  ),
]

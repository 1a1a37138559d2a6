import { BitsError, type NewSession, type Session } from '../../../lib/index.ts'
import { type Broken, changingSessions, inFiles, inMemory, soon } from './kit.ts'

/** The session that create() returns. */
const createdSession = (session: NewSession): Session => ({
  ...session,
  state: 'receiving',
  received: 0,
  updatedAt: session.created,
})

export const sessions: Broken[] = [
  inMemory(
    'create() returns another maxSize',
    'create() and load() > create() returns the same session fields as load()',
    (good) => ({
      create: async (session) => ({ ...(await good.create(session)), maxSize: 1 }),
    }),
  ),
  inMemory(
    'append() needs a session from load()',
    'create() and load() > create() returns a session that needs no load() until remove()',
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
    'release() makes the session unusable',
    'create() and load() > release() leaves the session usable and can be called twice',
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
    'received is one byte too high',
    'append() > stores consecutive fragments in order and adds each to received',
    changingSessions((session) => ({
      ...session,
      received: session.received + (session.received > 0 ? 1 : 0),
    })),
  ),
  inMemory(
    'metadata names become lower case',
    'create() and load() > load() returns unusual ids, paths, owners and metadata unchanged',
    changingSessions(({ metadata, ...session }) =>
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
    'file names become lower case',
    'create() and load() > publish() uses names with unusual characters unchanged',
    (good) => ({ create: (session) => good.create({ ...session, name: session.name.toLowerCase() }) }),
  ),
  inMemory(
    'file names lose their folders',
    'create() and load() > publish() uses names with folders unchanged',
    (good) => ({
      create: (session) => good.create({ ...session, name: session.name.split('/').at(-1) ?? '' }),
    }),
  ),
  inMemory(
    'a rejected create() keeps the session',
    'create() and load() > create() rejects a taken name with destination-exists and adds no session',
    (good) => ({
      async create(session) {
        const isTaken = good.files.has(session.name) && !session.overwrite
        const created = await good.create(isTaken ? { ...session, overwrite: true } : session)
        if (isTaken) throw new BitsError('destination-exists')
        return created
      },
    }),
  ),
  inMemory(
    'a taken name causes a plain Error',
    'create() and load() > create() rejects a taken name with destination-exists and adds no session',
    (good) => ({
      create: (session) =>
        good.create(session).catch(() => {
          throw new Error('EEXIST')
        }),
    }),
  ),
  inMemory(
    'create() removes same-named sessions',
    'create() and load() > create() allows several open sessions for the same name',
    (good) => {
      const byName = new Map<string, string>()
      return {
        async create(session) {
          const earlier = byName.get(session.name)
          byName.set(session.name, session.id)
          const created = await good.create(session)
          const replaced = earlier && (await good.load(earlier))
          if (replaced) await good.remove(replaced)
          return created
        },
      }
    },
  ),
  inMemory(
    'load() returns the same mutable object',
    'create() and load() > load() returns a snapshot that a later append() does not change',
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
    'an aborted create() resolves wrongly',
    'create() and load() > an aborted create() leaves a complete session or none',
    (good) => ({
      async create(session, options) {
        await soon()
        return options?.signal?.aborted ? createdSession(session) : good.create(session)
      },
    }),
  ),
  inFiles(
    'load() still counts lost bytes',
    'create() and load() > load() returns state lost when the bytes are lost, and append() starts again at 0',
    changingSessions((session) =>
      session.state === 'lost' ? { ...session, state: 'accepted', received: session.total ?? 0 } : session,
    ),
  ),
  inFiles(
    'load() finds only its own sessions',
    'two stores on the same storage > find sessions that the other one created',
    (good) => {
      const ownIds = new Set<string>()
      return {
        async create(session) {
          ownIds.add(session.id)
          return good.create(session)
        },
        load: async (id) => (ownIds.has(id) ? good.load(id) : undefined),
      }
    },
  ),
  inFiles(
    'other stores load no owner',
    'create() and load() > load() returns unusual ids, paths, owners and metadata unchanged after a restart',
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
    'updatedAt is in seconds',
    'create() and load() > load() returns every field of a new session, with state receiving and received 0',
    changingSessions((session) => ({ ...session, updatedAt: session.updatedAt / 1000 })),
  ),
  inMemory(
    'load() rejects an unknown id',
    'create() and load() > load() returns undefined for an unknown id',
    (good) => ({
      async load(id) {
        const session = await good.load(id)
        if (!session) throw new BitsError('session-not-found')
        return session
      },
    }),
  ),
  inFiles(
    'a folder name causes a plain Error',
    'create() and load() > create() rejects a folder name with invalid-destination and adds no session',
    (good) => ({
      create: (session) =>
        good.create(session).catch((error) => {
          throw error.code === 'invalid-destination' ? new Error('EISDIR') : error
        }),
    }),
  ),
  ...[
    'create() and load() > create() rejects a missing folder with destination-not-found and adds no session',
    'create() and load() > create() rejects names below files with destination-not-found and adds no session',
  ].map((caughtBy) =>
    inFiles('create() accepts a missing folder', caughtBy, (good) => ({
      create: (session) =>
        good.create(session).catch((error) => {
          if (error.code !== 'destination-not-found') throw error
          return createdSession(session)
        }),
    })),
  ),
  inFiles(
    'remove() rejects after lost bytes',
    'create() and load() > remove() deletes a session with lost bytes',
    (good) => ({
      async remove(session) {
        if (session.state === 'lost') throw new Error('ENOENT')
        await good.remove(session)
      },
    }),
  ),
]

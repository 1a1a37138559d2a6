import { BitsError, type Session } from '../../../lib/index.ts'
import { type Broken, inFiles, inMemory, soon } from './kit.ts'

export const ends: Broken[] = [
  inMemory(
    'the published file goes with its session',
    'remove() and list() > what was published stays',
    (good) => ({
      async remove(session) {
        await good.remove(session)
        good.files.delete(session.name)
      },
    }),
  ),
  inMemory(
    'what stands under the name goes with an unpublished session',
    'remove() and list() > what others published under the name stays',
    (good) => ({
      async remove(session) {
        await good.remove(session)
        if (session.state !== 'published') good.files.delete(session.name)
      },
    }),
  ),
  inMemory('to remove twice is an error', 'remove() and list() > a second time is no error', (good) => ({
    async remove(session) {
      if (!(await good.load(session.id))) throw new BitsError('session-not-found')
      await good.remove(session)
    },
  })),
  inMemory(
    'all sessions of a name are removed with one',
    'remove() and list() > only the one is forgotten',
    (good) => ({
      async remove({ name }) {
        for await (const session of good.list()) if (session.name === name) await good.remove(session)
      },
    }),
  ),
  inMemory(
    'a removed session comes back with its next fragment',
    'remove() and list() > a session that was removed takes nothing, and does not come back',
    (good) => ({
      async append(session, body, options) {
        if (!(await good.load(session.id))) await good.create(session)
        return good.append(session, body, options)
      },
    }),
  ),
  inMemory(
    'a removal that is given up resolves all the same',
    'remove() and list() > a removal that was given up was made, or can be',
    (good) => ({
      async remove(session, options) {
        await soon()
        if (!options?.signal?.aborted) await good.remove(session)
      },
    }),
  ),
  inMemory(
    'the list forgets the first',
    'remove() and list() > all sessions are listed, in whatever state, as load() tells them',
    (good) => ({
      async *list() {
        let isFirst = true
        for await (const session of good.list()) {
          if (!isFirst) yield session
          isFirst = false
        }
      },
    }),
  ),
  inMemory('the list has one page', 'remove() and list() > many sessions are listed, each once', (good) => ({
    async *list() {
      let count = 0
      for await (const session of good.list()) {
        count += 1
        if (count <= 1000) yield session
      }
    },
  })),
  inMemory(
    'pages of the list overlap',
    'remove() and list() > many sessions are listed, each once',
    (good) => ({
      async *list() {
        let count = 0
        for await (const session of good.list()) {
          count += 1
          yield session
          if (count % 1000 === 0) yield session
        }
      },
    }),
  ),
  inMemory(
    'the list goes by place, so that who leaves hides another',
    'remove() and list() > sessions that come and go meanwhile hide none of the others',
    (good) => ({
      async *list() {
        for (let place = 0; ; place += 1) {
          const all: Session[] = []
          for await (const session of good.list()) all.push(session)
          const session = all[place]
          if (!session) return
          yield session
        }
      },
    }),
  ),
  inMemory(
    'refused sessions are not listed',
    'remove() and list() > all sessions are listed, in whatever state, as load() tells them',
    (good) => ({
      async *list() {
        for await (const session of good.list()) if (session.state !== 'refused') yield session
      },
    }),
  ),
  inMemory(
    'a list can be walked once',
    'remove() and list() > a list may be given up, and begun again',
    (good) => {
      let list: AsyncIterable<Session> | undefined
      return {
        list() {
          list ??= good.list()
          return list
        },
      }
    },
  ),
  inFiles(
    'a removal is remembered in the process only',
    'remove() and list() > what was removed stays so over a restart',
    (good) => {
      const gone = new Set<string>()
      return {
        load: async (id) => (gone.has(id) ? undefined : good.load(id)),
        remove: async ({ id }) => void gone.add(id),
        async *list() {
          for await (const session of good.list()) if (!gone.has(session.id)) yield session
        },
      }
    },
  ),
  inFiles(
    'the list is of what this process began',
    'remove() and list() > all sessions are listed after a restart',
    (good) => {
      const mine = new Set<string>()
      return {
        async create(session) {
          mine.add(session.id)
          return good.create(session)
        },
        async *list() {
          for await (const session of good.list()) if (mine.has(session.id)) yield session
        },
      }
    },
  ),
  inMemory(
    'there is no list before the first session',
    'remove() and list() > a store that nobody used has no sessions',
    (good) => ({
      async *list() {
        let isEmpty = true
        for await (const session of good.list()) {
          isEmpty = false
          yield session
        }
        if (isEmpty) throw new Error('ENOENT')
      },
    }),
  ),
]

import { BitsError, type Session } from '../../../lib/index.ts'
import { type Broken, inFiles, inMemory, soon } from './kit.ts'

export const ends: Broken[] = [
  inMemory(
    'remove() deletes the published file',
    'remove() and list() > remove() keeps the published file',
    (good) => ({
      async remove(session) {
        await good.remove(session)
        good.files.delete(session.name)
      },
    }),
  ),
  inMemory(
    'remove() deletes the file of another',
    'remove() and list() > remove() keeps a file that another session published under the same name',
    (good) => ({
      async remove(session) {
        await good.remove(session)
        if (session.state !== 'published') good.files.delete(session.name)
      },
    }),
  ),
  inMemory(
    'a second remove() rejects',
    'remove() and list() > remove() succeeds when called a second time',
    (good) => ({
      async remove(session) {
        if (!(await good.load(session.id))) throw new BitsError('session-not-found')
        await good.remove(session)
      },
    }),
  ),
  inMemory(
    'remove() deletes same-named sessions',
    'remove() and list() > remove() keeps another session of the same name and its reply',
    (good) => ({
      async remove({ name }) {
        for await (const session of good.list()) if (session.name === name) await good.remove(session)
      },
    }),
  ),
  inMemory(
    'append() recreates a removed session',
    'remove() and list() > append() rejects after remove(), and the session stays deleted',
    (good) => ({
      async append(session, body, options) {
        if (!(await good.load(session.id))) await good.create(session)
        return good.append(session, body, options)
      },
    }),
  ),
  inMemory(
    'an aborted remove() resolves wrongly',
    'remove() and list() > an aborted remove() resolves only if the session is deleted, and can be repeated',
    (good) => ({
      async remove(session, options) {
        await soon()
        if (!options?.signal?.aborted) await good.remove(session)
      },
    }),
  ),
  inMemory(
    'list() omits the first session',
    'remove() and list() > list() yields sessions in every state, with the same fields as load()',
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
  inMemory(
    'list() stops after 1000 sessions',
    'remove() and list() > list() yields each of 1100 sessions once',
    (good) => ({
      async *list() {
        let count = 0
        for await (const session of good.list()) {
          count += 1
          if (count <= 1000) yield session
        }
      },
    }),
  ),
  inMemory(
    'list() repeats every 1000th session',
    'remove() and list() > list() yields each of 1100 sessions once',
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
    'list() skips sessions after a removal',
    'remove() and list() > list() omits no session while others are created and removed',
    (good) => ({
      async *list() {
        for (let index = 0; ; index += 1) {
          const all: Session[] = []
          for await (const session of good.list()) all.push(session)
          const session = all[index]
          if (!session) return
          yield session
        }
      },
    }),
  ),
  inMemory(
    'list() omits rejected sessions',
    'remove() and list() > list() yields sessions in every state, with the same fields as load()',
    (good) => ({
      async *list() {
        for await (const session of good.list()) if (session.state !== 'rejected') yield session
      },
    }),
  ),
  inMemory(
    'list() always returns one iterator',
    'remove() and list() > list() can be stopped early and called again',
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
    'a removal is lost in a restart',
    'remove() and list() > a removed session stays deleted across a restart',
    (good) => {
      const removed = new Set<string>()
      return {
        load: async (id) => (removed.has(id) ? undefined : good.load(id)),
        remove: async ({ id }) => void removed.add(id),
        async *list() {
          for await (const session of good.list()) if (!removed.has(session.id)) yield session
        },
      }
    },
  ),
  inFiles(
    'list() omits sessions of other stores',
    'remove() and list() > list() yields all sessions after a restart',
    (good) => {
      const ownIds = new Set<string>()
      return {
        async create(session) {
          ownIds.add(session.id)
          return good.create(session)
        },
        async *list() {
          for await (const session of good.list()) if (ownIds.has(session.id)) yield session
        },
      }
    },
  ),
  inMemory(
    'list() throws when there is no session',
    'remove() and list() > list() yields nothing for a new store',
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

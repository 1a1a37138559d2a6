import { rm } from 'node:fs/promises'
import { BitsError, type MemoryStore, type Session, type Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { type Broken, batchesOf, gather, inFiles, inMemory, onDisk, soon, telling } from './kit.ts'

/** Publishes whatever the name, while the sessions look as if they asked. */
const publishing =
  (look: (files: Map<string, Buffer>, session: Session, place: () => Promise<void>) => Promise<void>) =>
  (good: MemoryStore): Partial<Store> => {
    const may = new Map<string, boolean>()
    const told = (session: Session): Session => ({
      ...session,
      overwrite: may.get(session.id) ?? session.overwrite,
    })
    return {
      ...telling(told)(good),
      async create(session) {
        if (good.files.has(session.name) && !session.overwrite) throw new BitsError('destination-exists')
        may.set(session.id, session.overwrite)
        return told(await good.create({ ...session, overwrite: true }))
      },
      publish: (session) => look(good.files, told(session), () => good.publish(session)),
    }
  }

/** Forgets something of what was said to be published at once. */
const atOnce =
  (forget: (session: Session) => Session) =>
  (good: MemoryStore): Partial<Store> => {
    const told = new Set<string>()
    return {
      append(session, body, options) {
        if (options.publishes) told.add(session.id)
        return good.append(session, body, options)
      },
      async load(id) {
        const session = await good.load(id)
        return session && told.has(id) ? forget(session) : session
      },
    }
  }

export const publications: Broken[] = [
  inMemory(
    'publishes: true loses the total',
    'publish() > sets state, received and total after append() with publishes: true',
    atOnce(({ total: _, ...session }) => session),
  ),
  inMemory(
    'publishes: true sets received to 0',
    'publish() > can follow another append() after one with publishes: true, without losing bytes',
    atOnce((session) => (session.state === 'published' ? session : { ...session, received: 0 })),
  ),
  inMemory(
    'publish() ignores overwrite: false',
    'publish() > rejects with destination-exists and keeps the bytes if the name was taken meanwhile',
    publishing((_files, _session, place) => place()),
  ),
  inMemory(
    'publish() checks and writes separately',
    'publish() > publishes one of ten concurrent sessions, others get destination-exists',
    publishing(async (files, session, place) => {
      if (files.has(session.name) && !session.overwrite && session.state !== 'published') {
        throw new BitsError('destination-exists')
      }
      await soon()
      await place()
    }),
  ),
  inMemory(
    'publish() drops bytes on a taken name',
    'publish() > rejects with destination-exists and keeps the bytes if the name was taken meanwhile',
    (good) => ({
      publish: (session) =>
        good.publish(session).catch(async (error) => {
          await good.reject(session, 'the name is taken')
          throw error
        }),
    }),
  ),
  inMemory(
    'publish() exposes a partial file',
    'publish() > never exposes a partial or missing file while it replaces one',
    (good) => ({
      async publish(session) {
        if (session.state !== 'published') {
          const chunks = await gather(batchesOf(good.read(session)))
          if (!good.files.has(session.name) || session.overwrite) {
            const whole = Buffer.concat(chunks)
            const earlier = good.files.get(session.name)
            good.files.set(session.name, whole.subarray(0, whole.length / 2))
            await soon()
            if (earlier) good.files.set(session.name, earlier)
            else good.files.delete(session.name)
          }
        }
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'publish() deletes the old file first',
    'publish() > never exposes a partial or missing file while it replaces one',
    (good) => ({
      async publish(session) {
        if (session.overwrite && session.state !== 'published') good.files.delete(session.name)
        await soon()
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'a second publish() restores old bytes',
    'publish() > does not restore a replaced file when called a second time',
    (good) => {
      const published = new Map<string, Buffer>()
      return {
        async publish(session) {
          await good.publish(session)
          const file = published.get(session.id) ?? good.files.get(session.name)
          if (!file) return
          published.set(session.id, file)
          good.files.set(session.name, file)
        },
      }
    },
  ),
  inMemory('a second publish() rejects', 'publish() > does nothing when called a second time', (good) => ({
    async publish(session) {
      if (session.state === 'published') throw new BitsError('destination-exists')
      await good.publish(session)
    },
  })),
  inMemory('publish() skips an empty file', 'publish() > publishes an empty file', (good) => ({
    async publish(session) {
      await good.publish(session)
      if (session.received === 0) good.files.delete(session.name)
    },
  })),
  inMemory(
    'an aborted publish() resolves wrongly',
    'publish() > publishes the complete file or none when aborted, and succeeds when called again',
    (good) => ({
      async publish(session, options) {
        await soon()
        if (!options?.signal?.aborted) await good.publish(session)
      },
    }),
  ),
  inFiles(
    'a restart loses the state published',
    'publish() > keeps the state published across a restart, where a second call does nothing',
    (good) => {
      const mine = new Set<string>()
      return {
        async publish(session) {
          await good.publish(session)
          mine.add(session.id)
        },
        async load(id) {
          const session = await good.load(id)
          return session?.state === 'published' && !mine.has(id)
            ? { ...session, state: 'receiving' }
            : session
        },
      }
    },
  ),
  onDisk(
    'publish() copies instead of linking',
    'two stores on the same storage > publish one of ten concurrent sessions, others get destination-exists',
    { link: async (path, newPath) => nodeFileSystem.copyFile(path, newPath) },
  ),
  onDisk(
    'publish() replaces a folder',
    'publish() > rejects with invalid-destination and keeps the bytes if a folder took the name meanwhile',
    {
      async rename(path, newPath) {
        await rm(newPath, { recursive: true, force: true })
        await nodeFileSystem.rename(path, newPath)
      },
    },
  ),
]

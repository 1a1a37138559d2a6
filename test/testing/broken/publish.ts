import { rm } from 'node:fs/promises'
import { BitsError, type MemoryStore, type Session, type Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { type Broken, batchesOf, changingSessions, gather, inFiles, inMemory, onDisk, soon } from './kit.ts'

/**
 * Creates every session with `overwrite: true` and replaces publish(). The returned sessions show the
 * `overwrite` that was requested.
 */
const publishing =
  (
    publish: (files: Map<string, Buffer>, session: Session, publishNow: () => Promise<void>) => Promise<void>,
  ) =>
  (good: MemoryStore): Partial<Store> => {
    const requested = new Map<string, boolean>()
    const withRequested = (session: Session): Session => ({
      ...session,
      overwrite: requested.get(session.id) ?? session.overwrite,
    })
    return {
      ...changingSessions(withRequested)(good),
      async create(session) {
        if (good.files.has(session.name) && !session.overwrite) throw new BitsError('destination-exists')
        requested.set(session.id, session.overwrite)
        return withRequested(await good.create({ ...session, overwrite: true }))
      },
      publish: (session) => publish(good.files, withRequested(session), () => good.publish(session)),
    }
  }

export const publications: Broken[] = [
  inMemory(
    'publish() without load() loses the total',
    'publish() > accepts the sessions that create() and append() return, without load()',
    (good) => {
      const loaded = new WeakSet<Session>()
      const damaged = new Set<string>()
      return {
        async load(id) {
          const session = await good.load(id)
          if (session) loaded.add(session)
          if (!session || !damaged.has(id)) return session
          const { total: _, ...rest } = session
          return rest
        },
        async publish(session) {
          if (!loaded.has(session)) damaged.add(session.id)
          await good.publish(session)
        },
      }
    },
  ),
  inMemory(
    'publish() ignores overwrite: false',
    'publish() > rejects with destination-exists and keeps the bytes if the name was taken meanwhile',
    publishing((_files, _session, publishNow) => publishNow()),
  ),
  inMemory(
    'publish() checks and writes separately',
    'publish() > publishes one of ten concurrent sessions, others get destination-exists',
    publishing(async (files, session, publishNow) => {
      if (files.has(session.name) && !session.overwrite && session.state !== 'published') {
        throw new BitsError('destination-exists')
      }
      await soon()
      await publishNow()
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
      const ownIds = new Set<string>()
      return {
        async publish(session) {
          await good.publish(session)
          ownIds.add(session.id)
        },
        async load(id) {
          const session = await good.load(id)
          return session?.state === 'published' && !ownIds.has(id)
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

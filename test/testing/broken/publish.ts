import { rm } from 'node:fs/promises'
import { BitsError, type MemoryStore, type Session, type Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file-system.ts'
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
    'what is published at once has no size',
    'publish() > what was said to be published at once is known to be whole',
    atOnce(({ total: _, ...session }) => session),
  ),
  inMemory(
    'what is to be published at once is not held before',
    'publish() > what was said to be published at once, and was not, is gone on with',
    atOnce((session) => (session.state === 'published' ? session : { ...session, received: 0 })),
  ),
  inMemory(
    'a taken name is replaced',
    'publish() > a name that was taken meanwhile is refused, and no byte is lost',
    publishing((_files, _session, place) => place()),
  ),
  inMemory(
    'a name is looked at before it is taken',
    'publish() > of many at once one has the name, and the others are refused',
    publishing(async (files, session, place) => {
      if (files.has(session.name) && !session.overwrite && session.state !== 'published') {
        throw new BitsError('destination-exists')
      }
      await soon()
      await place()
    }),
  ),
  inMemory(
    'the bytes are lost when the name is taken',
    'publish() > a name that was taken meanwhile is refused, and no byte is lost',
    (good) => ({
      publish: (session) =>
        good.publish(session).catch(async (error) => {
          await good.refuse(session, 'the name is taken')
          throw error
        }),
    }),
  ),
  inMemory(
    'a part is seen while it is published',
    'publish() > at no moment a part stands there, nor nothing in the place of a file',
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
    'the old file is away before the new one is there',
    'publish() > at no moment a part stands there, nor nothing in the place of a file',
    (good) => ({
      async publish(session) {
        if (session.overwrite && session.state !== 'published') good.files.delete(session.name)
        await soon()
        await good.publish(session)
      },
    }),
  ),
  inMemory(
    'a second time brings back what was replaced',
    'publish() > a second time does not bring back what was replaced meanwhile',
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
  inMemory('a second time is an error', 'publish() > a second time does nothing', (good) => ({
    async publish(session) {
      if (session.state === 'published') throw new BitsError('destination-exists')
      await good.publish(session)
    },
  })),
  inMemory('an empty file is not published', 'publish() > an empty file stands under its name', (good) => ({
    async publish(session) {
      await good.publish(session)
      if (session.received === 0) good.files.delete(session.name)
    },
  })),
  inMemory(
    'a publication that was given up resolves without a file',
    'publish() > a publication that was given up was made whole, or not',
    (good) => ({
      async publish(session, options) {
        await soon()
        if (!options?.signal?.aborted) await good.publish(session)
      },
    }),
  ),
  inFiles(
    'that a file was published is forgotten with the process',
    'publish() > what was published is known to be after a restart, and a second time does nothing',
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
    'a file takes the place of another by rename()',
    'two stores on the same ground > of many that both publish at once one has the name',
    { link: async (path, newPath) => nodeFileSystem.copyFile(path, newPath) },
  ),
  onDisk(
    'a folder is replaced with all that it holds',
    'publish() > a folder that took the name meanwhile is not replaced',
    {
      async rename(path, newPath) {
        await rm(newPath, { recursive: true, force: true })
        await nodeFileSystem.rename(path, newPath)
      },
    },
  ),
]

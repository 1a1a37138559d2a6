import type { Readable } from 'node:stream'
import type { Body, Session } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file-system.ts'
import { type Broken, gather, inFiles, inMemory, mapped, once, onDisk, telling } from './kit.ts'

export const bytes: Broken[] = [
  inMemory(
    'bytes are lost when the body breaks',
    'append() > a body that breaks behind its first batch: what came is held, and its error passed on',
    (good) => ({
      append: async (session, body, options) => good.append(session, once(await gather(body)), options),
    }),
  ),
  inMemory(
    'the last batch before a break is lost',
    'append() > a body that breaks behind its last: what came is held, and its error passed on',
    (good) => {
      async function* late(body: Body) {
        let held: readonly Uint8Array[] = []
        for await (const chunks of body) {
          yield held
          held = chunks.map((chunk) => Buffer.from(chunk))
        }
        yield held
      }
      return { append: (session, body, options) => good.append(session, late(body), options) }
    },
  ),
  inMemory(
    'a break is taken for the end',
    'append() > a body that breaks before its first batch: what came is held, and its error passed on',
    (good) => ({
      append: (session, body, options) =>
        good.append(session, body, options).catch(async () => (await good.load(session.id)) as Session),
    }),
  ),
  inMemory(
    'the error of the body is another',
    'append() > a body that breaks behind its second: what came is held, and its error passed on',
    (good) => ({
      append: (session, body, options) =>
        good.append(session, body, options).catch((cause) => {
          throw new Error('append() failed', { cause })
        }),
    }),
  ),
  inMemory(
    'bytes are counted that were not written',
    'append() > fragment after fragment is held, counted, and in order',
    (good) => {
      const lost = new Map<string, number>()
      const told = (session: Session): Session => ({
        ...session,
        received: session.received + (lost.get(session.id) ?? 0),
      })
      return {
        ...telling(told)(good),
        async append(session, body, options) {
          const short = (chunks: readonly Uint8Array[]) =>
            chunks.map((chunk) => {
              if (chunk.length < 2) return chunk
              lost.set(session.id, (lost.get(session.id) ?? 0) + 1)
              return chunk.subarray(0, -1)
            })
          return told(await good.append(session, mapped(body, short), options))
        },
      }
    },
  ),
  inMemory('append() tells what was held before', 'append() > it resolves to what load() tells', (good) => ({
    async append(session, body, options) {
      await good.append(session, body, options)
      return session
    },
  })),
  inMemory(
    'the size of the file is known only with its first byte',
    'append() > the size of the whole file is known from the first one on',
    telling(({ total, ...session }) =>
      total === undefined || session.received === 0 ? session : { ...session, total },
    ),
  ),
  inMemory(
    'progress is when the session began',
    'append() > an empty body marks progress, and nothing else',
    telling((session) => ({ ...session, progressed: session.created })),
  ),
  inMemory(
    'the memory of a batch is used after the next was asked for',
    'append() > a batch is written before the next is asked for',
    (good) => ({
      async append(session, body, options) {
        const gathered: Uint8Array[][] = []
        let failure: unknown
        try {
          for await (const chunks of body) gathered.push([...chunks])
        } catch (error) {
          failure = error
        }
        const result = await good.append(session, once(gathered.flat()), options)
        if (failure) throw failure
        return result
      },
    }),
  ),
  inMemory(
    'two batches are asked for at once',
    'append() > a batch is written before the next is asked for',
    (good) => {
      async function* ahead(body: Body) {
        const batches = body[Symbol.asyncIterator]()
        let next = batches.next()
        for (;;) {
          const after = next.then(() => batches.next())
          const eager = batches.next()
          after.catch(() => {})
          eager.catch(() => {})
          const { done, value } = await next
          if (done) return
          yield value
          next = eager
        }
      }
      return { append: (session, body, options) => good.append(session, ahead(body), options) }
    },
  ),
  inMemory('the memory around a view is written', 'append() > batches may have any shape', (good) => ({
    append: (session, body, options) =>
      good.append(
        session,
        mapped(body, (chunks) => chunks.map((chunk) => new Uint8Array(chunk.buffer, 0, chunk.length))),
        options,
      ),
  })),
  inMemory(
    'an append that was given up resolves, and drops the rest',
    'append() > an append that is given up behind its first batch: what is counted is there',
    (good) => ({
      append(session, body, options) {
        async function* untilAborted() {
          for await (const chunks of body) {
            if (options.signal?.aborted) return
            yield chunks
          }
        }
        return good.append(session, untilAborted(), options)
      },
    }),
  ),
  inMemory(
    'an append that was given up takes all of it back',
    'append() > an append that is given up behind its second: what is counted is there',
    (good) => ({
      async append(session, body, options) {
        const result = await good.append(session, body, options)
        if (!options.signal?.aborted) return result
        await good.remove(session)
        throw new Error('given up')
      },
    }),
  ),
  inMemory('read() works once', 'append() > read() may be asked again, and given up', (good) => {
    const streams = new Map<string, Readable>()
    return {
      read(session) {
        const stream = streams.get(session.id) ?? good.read(session)
        streams.set(session.id, stream)
        return stream
      },
    }
  }),
  onDisk(
    'a fragment is written one byte too far to the front',
    'append() > fragment after fragment is held, counted, and in order',
    { writev: (fd, chunks, at) => nodeFileSystem.writev(fd, chunks, Math.max(0, at - 1)) },
  ),
  onDisk('offsets have 32 bits', 'append() > offsets beyond 4 GiB are like all others', {
    writev: (fd, chunks, at) => nodeFileSystem.writev(fd, chunks, at % 2 ** 32),
  }),
  inFiles(
    'what was held before a restart is not counted',
    'append() > what is held is held over a restart, at every fragment',
    (good) => {
      const mine = new Set<string>()
      return {
        async create(session) {
          mine.add(session.id)
          return good.create(session)
        },
        async load(id) {
          const session = await good.load(id)
          return session && !mine.has(id) ? { ...session, received: 0 } : session
        },
      }
    },
  ),
  inFiles('paths are of the file before last', 'append() > paths() names where the bytes are', (good) => ({
    paths: (session) => {
      const paths = good.paths?.(session) ?? { upload: '', reply: '' }
      return { ...paths, upload: `${paths.upload}.old` }
    },
  })),
]

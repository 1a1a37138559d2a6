import type { Readable } from 'node:stream'
import type { Body, Session } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { type Broken, changingSessions, gather, inFiles, inMemory, mapped, once, onDisk } from './kit.ts'

export const bytes: Broken[] = [
  inMemory(
    'a failing body loses all its batches',
    'append() > keeps the bytes and rejects with the error of a body that fails after the first batch',
    (good) => ({
      append: async (session, body, options) => good.append(session, once(await gather(body)), options),
    }),
  ),
  inMemory(
    'a failing body loses its last batch',
    'append() > keeps the bytes and rejects with the error of a body that fails after the last batch',
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
    'append() resolves when the body fails',
    'append() > keeps the bytes and rejects with the error of a body that fails before the first batch',
    (good) => ({
      append: (session, body, options) =>
        good.append(session, body, options).catch(async () => (await good.load(session.id)) as Session),
    }),
  ),
  inMemory(
    'append() replaces the body error',
    'append() > keeps the bytes and rejects with the error of a body that fails after the second batch',
    (good) => ({
      append: (session, body, options) =>
        good.append(session, body, options).catch((cause) => {
          throw new Error('append() failed', { cause })
        }),
    }),
  ),
  inMemory(
    'received counts unwritten bytes',
    'append() > stores consecutive fragments in order and adds each to received',
    (good) => {
      const lost = new Map<string, number>()
      const withLostBytes = (session: Session): Session => ({
        ...session,
        received: session.received + (lost.get(session.id) ?? 0),
      })
      return {
        ...changingSessions(withLostBytes)(good),
        async append(session, body, options) {
          const short = (chunks: readonly Uint8Array[]) =>
            chunks.map((chunk) => {
              if (chunk.length < 2) return chunk
              lost.set(session.id, (lost.get(session.id) ?? 0) + 1)
              return chunk.subarray(0, -1)
            })
          return withLostBytes(await good.append(session, mapped(body, short), options))
        },
      }
    },
  ),
  inMemory(
    'append() returns the previous session',
    'append() > returns the same session fields as load()',
    (good) => ({
      async append(session, body, options) {
        await good.append(session, body, options)
        return session
      },
    }),
  ),
  inMemory(
    'total is unset before the first byte',
    'append() > sets total with the first fragment, even an empty one',
    changingSessions(({ total, ...session }) =>
      total === undefined || session.received === 0 ? session : { ...session, total },
    ),
  ),
  inMemory(
    'updatedAt stays at the creation time',
    'append() > updates updatedAt and changes no bytes for an empty body',
    changingSessions((session) => ({ ...session, updatedAt: session.created })),
  ),
  inMemory(
    'append() reads a batch too late',
    'append() > writes each batch before requesting the next one',
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
    'append() requests two batches at once',
    'append() > writes each batch before requesting the next one',
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
  inMemory(
    'append() ignores the offset of a view',
    'append() > accepts empty batches, plain Uint8Array views and a batch of 3000 chunks',
    (good) => ({
      append: (session, body, options) =>
        good.append(
          session,
          mapped(body, (chunks) => chunks.map((chunk) => new Uint8Array(chunk.buffer, 0, chunk.length))),
          options,
        ),
    }),
  ),
  inMemory(
    'an aborted append() resolves early',
    'append() > holds every byte that load() counts when aborted after the first batch',
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
    'an aborted append() loses the session',
    'append() > holds every byte that load() counts when aborted after the second batch',
    (good) => ({
      async append(session, body, options) {
        const result = await good.append(session, body, options)
        if (!options.signal?.aborted) return result
        await good.remove(session)
        throw new Error('aborted')
      },
    }),
  ),
  inMemory(
    'read() always returns the same stream',
    'append() > stores bytes that read() returns in full after an earlier stream was destroyed',
    (good) => {
      const streams = new Map<string, Readable>()
      return {
        read(session) {
          const stream = streams.get(session.id) ?? good.read(session)
          streams.set(session.id, stream)
          return stream
        },
      }
    },
  ),
  onDisk(
    'fragments start one byte too early',
    'append() > stores consecutive fragments in order and adds each to received',
    { writev: (fd, chunks, at) => nodeFileSystem.writev(fd, chunks, Math.max(0, at - 1)) },
  ),
  onDisk(
    'offsets are truncated to 32 bits',
    'append() > writes at offsets above 4 GiB, and the file can be published',
    {
      writev: (fd, chunks, at) => nodeFileSystem.writev(fd, chunks, at % 2 ** 32),
    },
  ),
  inFiles(
    'received is 0 after a restart',
    'append() > keeps bytes, received and total across a restart after every fragment',
    (good) => {
      const ownIds = new Set<string>()
      return {
        async create(session) {
          ownIds.add(session.id)
          return good.create(session)
        },
        async load(id) {
          const session = await good.load(id)
          return session && !ownIds.has(id) ? { ...session, received: 0 } : session
        },
      }
    },
  ),
  inFiles(
    'paths().upload names another file',
    'append() > stores the bytes in the file at paths().upload',
    (good) => ({
      paths: (session) => {
        const paths = good.paths?.(session) ?? { upload: '', reply: '' }
        return { ...paths, upload: `${paths.upload}.old` }
      },
    }),
  ),
]

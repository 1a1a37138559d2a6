import { Readable } from 'node:stream'
import type { Store } from '../../../lib/index.ts'
import { type Broken, batchesOf, gather, inFiles, inMemory, once } from './kit.ts'

export const replies: Broken[] = [
  inMemory(
    'a reply is added to an earlier one',
    'keepReply() and loadReply() > a reply takes the place of an earlier one',
    (good) => ({
      async keepReply(session, body) {
        const earlier = await good.loadReply(session)
        const chunks = earlier ? await gather(batchesOf(earlier.read(0, earlier.size - 1))) : []
        await good.keepReply(session, once([...chunks, ...(body ? await gather(body) : [])]))
      },
    }),
  ),
  inMemory('an empty reply is none', 'keepReply() and loadReply() > an empty reply is one', (good) => ({
    async loadReply(session) {
      const reply = await good.loadReply(session)
      return reply?.size ? reply : undefined
    },
  })),
  inMemory(
    'the last byte of a range is left out',
    'keepReply() and loadReply() > a reply is read in ranges, the last byte included, in any order and at once',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, read: (first, last) => reply.read(first, last - 1) }
      },
    }),
  ),
  inMemory(
    'a reply was written when it is asked for',
    'keepReply() and loadReply() > it stays as it is while the upload is accepted and published',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, modified: Date.now() }
      },
    }),
  ),
  inMemory(
    'a reply that breaks is kept',
    'keepReply() and loadReply() > a body that breaks: its error is passed on, and the next reply is whole',
    (good) => ({ keepReply: (session, body) => good.keepReply(session, body).catch(() => {}) }),
  ),
  inMemory(
    'a reply that is given up resolves with a part',
    'keepReply() and loadReply() > one that is given up resolves only if it is kept',
    (good) => ({
      async keepReply(session, body, options) {
        const chunks: Uint8Array[] = []
        for await (const batch of body ?? []) {
          if (options?.signal?.aborted) break
          chunks.push(...batch.map((chunk) => Buffer.from(chunk)))
        }
        await good.keepReply(session, once(chunks))
      },
    }),
  ),
  inMemory(
    'a reply outlives its session',
    'keepReply() and loadReply() > it goes with its session',
    (good) => {
      const kept = new Map<string, Awaited<ReturnType<Store['loadReply']>>>()
      return {
        async loadReply(session) {
          const reply = await good.loadReply(session)
          if (reply) kept.set(session.id, reply)
          return kept.get(session.id)
        },
        async remove(session) {
          await good.loadReply(session).then((reply) => reply && kept.set(session.id, reply))
          await good.remove(session)
        },
      }
    },
  ),
  inFiles(
    'what stands at its path already is written over',
    'keepReply() and loadReply() > it may stand where paths() says already',
    (good) => ({ keepReply: (session, body, options) => good.keepReply(session, body ?? once([]), options) }),
  ),
  inMemory(
    'there is always a reply, an empty one',
    'keepReply() and loadReply() > there is none before one is kept',
    (good) => ({
      async loadReply(session) {
        const empty = { size: 0, modified: 0, read: () => Readable.from([]) }
        return (await good.loadReply(session)) ?? empty
      },
    }),
  ),
  inFiles(
    'nothing that was written is no reply',
    'keepReply() and loadReply() > nothing that stands where paths() says is an empty one',
    (good) => ({
      keepReply: async (session, body, options) => body && good.keepReply(session, body, options),
    }),
  ),
]

import { Readable } from 'node:stream'
import type { Store } from '../../../lib/index.ts'
import { type Broken, batchesOf, gather, inFiles, inMemory, once } from './kit.ts'

export const replies: Broken[] = [
  inMemory(
    'keepReply() appends to an old reply',
    'keepReply() and loadReply() > keepReply() replaces an earlier, longer reply',
    (good) => ({
      async keepReply(session, body) {
        const earlier = await good.loadReply(session)
        const chunks = earlier ? await gather(batchesOf(earlier.read(0, earlier.size - 1))) : []
        await good.keepReply(session, once([...chunks, ...(body ? await gather(body) : [])]))
      },
    }),
  ),
  inMemory(
    'loadReply() ignores an empty reply',
    'keepReply() and loadReply() > loadReply() returns an empty reply with size 0',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply?.size ? reply : undefined
      },
    }),
  ),
  inMemory(
    'read() omits the last byte of a range',
    'keepReply() and loadReply() > read() returns inclusive byte ranges, in any order and concurrently',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, read: (first, last) => reply.read(first, last - 1) }
      },
    }),
  ),
  inMemory(
    'modified is the time of loadReply()',
    'keepReply() and loadReply() > loadReply() returns the same reply after accept() and publish()',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, modified: Date.now() }
      },
    }),
  ),
  inMemory(
    'keepReply() resolves if the body fails',
    'keepReply() and loadReply() > keepReply() rejects with the body error, and the next reply is complete',
    (good) => ({ keepReply: (session, body) => good.keepReply(session, body).catch(() => {}) }),
  ),
  inMemory(
    'an aborted keepReply() stores a part',
    'keepReply() and loadReply() > an aborted keepReply() resolves only if the complete reply is stored',
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
  inMemory('remove() keeps the reply', 'keepReply() and loadReply() > remove() deletes the reply', (good) => {
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
  }),
  inFiles(
    'keepReply() without a body overwrites',
    'keepReply() and loadReply() > keepReply() without a body uses the file at paths().reply',
    (good) => ({ keepReply: (session, body, options) => good.keepReply(session, body ?? once([]), options) }),
  ),
  inMemory(
    'loadReply() never returns undefined',
    'keepReply() and loadReply() > loadReply() returns undefined before keepReply()',
    (good) => ({
      async loadReply(session) {
        const empty = { size: 0, modified: 0, read: () => Readable.from([]) }
        return (await good.loadReply(session)) ?? empty
      },
    }),
  ),
  inFiles(
    'keepReply() ignores a missing body',
    'keepReply() and loadReply() > keepReply() without a body or a file stores an empty reply',
    (good) => ({
      keepReply: async (session, body, options) => body && good.keepReply(session, body, options),
    }),
  ),
]

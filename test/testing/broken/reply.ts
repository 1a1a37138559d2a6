import { Readable } from 'node:stream'
import type { Store } from '../../../lib/index.ts'
import { type Broken, batchesOf, gather, inFiles, inMemory, once } from './kit.ts'

export const replies: Broken[] = [
  inMemory(
    'saveReply() appends to an old reply',
    'saveReply() and loadReply() > saveReply() replaces an earlier, longer reply',
    (good) => ({
      async saveReply(session, body) {
        const earlier = await good.loadReply(session)
        const chunks = earlier ? await gather(batchesOf(earlier.read(0, earlier.size - 1))) : []
        await good.saveReply(session, once([...chunks, ...(body ? await gather(body) : [])]))
      },
    }),
  ),
  inMemory(
    'loadReply() ignores an empty reply',
    'saveReply() and loadReply() > loadReply() returns an empty reply with size 0',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply?.size ? reply : undefined
      },
    }),
  ),
  inMemory(
    'read() omits the last byte of a range',
    'saveReply() and loadReply() > read() returns inclusive byte ranges, in any order and concurrently',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, read: (first, last) => reply.read(first, last - 1) }
      },
    }),
  ),
  inMemory(
    'modified is the time of loadReply()',
    'saveReply() and loadReply() > loadReply() returns the same reply after accept() and publish()',
    (good) => ({
      async loadReply(session) {
        const reply = await good.loadReply(session)
        return reply && { ...reply, modified: Date.now() }
      },
    }),
  ),
  inMemory(
    'saveReply() resolves if the body fails',
    'saveReply() and loadReply() > saveReply() rejects with the body error, and the next reply is complete',
    (good) => ({ saveReply: (session, body) => good.saveReply(session, body).catch(() => {}) }),
  ),
  inMemory(
    'an aborted saveReply() stores a part',
    'saveReply() and loadReply() > an aborted saveReply() resolves only if the complete reply is stored',
    (good) => ({
      async saveReply(session, body, options) {
        const chunks: Uint8Array[] = []
        for await (const batch of body ?? []) {
          if (options?.signal?.aborted) break
          chunks.push(...batch.map((chunk) => Buffer.from(chunk)))
        }
        await good.saveReply(session, once(chunks))
      },
    }),
  ),
  inMemory('remove() keeps the reply', 'saveReply() and loadReply() > remove() deletes the reply', (good) => {
    const saved = new Map<string, Awaited<ReturnType<Store['loadReply']>>>()
    return {
      async loadReply(session) {
        const reply = await good.loadReply(session)
        if (reply) saved.set(session.id, reply)
        return saved.get(session.id)
      },
      async remove(session) {
        await good.loadReply(session).then((reply) => reply && saved.set(session.id, reply))
        await good.remove(session)
      },
    }
  }),
  inFiles(
    'saveReply() without a body overwrites',
    'saveReply() and loadReply() > saveReply() without a body uses the file at paths().reply',
    (good) => ({ saveReply: (session, body, options) => good.saveReply(session, body ?? once([]), options) }),
  ),
  inMemory(
    'loadReply() never returns undefined',
    'saveReply() and loadReply() > loadReply() returns undefined before saveReply()',
    (good) => ({
      async loadReply(session) {
        const empty = { size: 0, modified: 0, read: () => Readable.from([]) }
        return (await good.loadReply(session)) ?? empty
      },
    }),
  ),
  inFiles(
    'saveReply() ignores a missing body',
    'saveReply() and loadReply() > saveReply() without a body or a file stores an empty reply',
    (good) => ({
      saveReply: async (session, body, options) => body && good.saveReply(session, body, options),
    }),
  ),
]

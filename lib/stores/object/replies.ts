import { Readable } from 'node:stream'
import type { Body, StoredReply } from '../store.ts'
import type { StoreContext } from './context.ts'
import { emptyLayout, partSizes, randomId, readIntoMemory, replyKey, sizeOf, uploadPrefix } from './layout.ts'
import { DirectUpload } from './parts.ts'
import type { ServiceOptions } from './service/service.ts'
import { Writer } from './writer.ts'

/** Size in bytes of a reply that the sizes of its parts are made for; a larger one fails at the limit of parts. */
const ExpectedReplyBytes = 2 ** 30

/**
 * Stores a reply. A small one is written by one request, a larger one by an upload to its key.
 * @returns its name, which is unique, so that a delayed write cannot replace a reply that was accepted
 */
export async function writeReply(
  context: StoreContext,
  id: string,
  body: Body,
  options: ServiceOptions,
): Promise<string> {
  const { service, memory, partSize } = context
  const name = randomId()
  const key = replyKey(id, name)
  const create = async (): Promise<string> => (await service.createUpload(key, options)).id
  const upload = new DirectUpload(context, key, { create })
  const writer = new Writer({
    service,
    prefix: `${uploadPrefix(id)}replies/`,
    layout: emptyLayout,
    target: upload,
    sizes: partSizes(service, partSize, ExpectedReplyBytes, emptyLayout),
    memory,
    ...options,
  })
  memory.join()
  try {
    for await (const chunks of body) {
      options.signal?.throwIfAborted()
      await writer.write(chunks)
    }
    if (writer.hasParts) {
      await writer.flush({ isEnd: true })
      const tags = writer.layout.parts.map(([, tag]) => tag)
      await service.completeUpload(key, await upload.begin(), tags, options)
    } else {
      const { tail, chunks } = await writer.takeAll()
      await memory.reserve(sizeOf(tail), options.signal, async () =>
        service.put(key, [...(await readIntoMemory(service, tail, options)), ...chunks], options),
      )
      await service.remove(tail.map((object) => object.key)).catch(() => {})
    }
    // Objects that are not removed now are removed with the session, or by a later sweep.
    await writer.removeObsolete()
    return name
  } catch (error) {
    // What is not aborted now is aborted by a sweep.
    if (upload.id !== undefined) await service.abortUpload(key, upload.id).catch(() => {})
    throw error
  } finally {
    memory.leave()
  }
}

/** Undefined if the reply does not exist. */
export async function loadReply(
  { service }: Pick<StoreContext, 'service'>,
  id: string,
  name: string,
  options?: ServiceOptions,
): Promise<StoredReply | undefined> {
  const key = replyKey(id, name)
  const found = await service.head(key, options)
  if (!found) return undefined
  const read = (first: number, last: number) =>
    first > last ? Readable.from([], { objectMode: false }) : service.read(key, first, last)
  return { size: found.size, modified: found.modified, read }
}

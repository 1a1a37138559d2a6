import { Readable } from 'node:stream'
import type { Body, StoredReply } from '../store.ts'
import { emptyLayout, objectsOf, randomId, replyKey, uploadPrefix } from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { writeObject } from './publish.ts'
import type { ObjectService, ServiceOptions } from './service/service.ts'
import { Writer } from './writer.ts'

/**
 * Stores a reply of any size. Its bytes are written like those of an upload; the reply then appears as one
 * object.
 * @returns its name, which is unique, so that a delayed write cannot replace a reply that was accepted
 */
export async function writeReply(
  service: ObjectService,
  id: string,
  body: Body,
  { partSize, memory, signal }: { readonly partSize: number; readonly memory: MemoryBudget } & ServiceOptions,
): Promise<string> {
  const name = randomId()
  const prefix = `${uploadPrefix(id)}replies/`
  const layout = emptyLayout(0, { partSize, epoch: randomId(), maxSources: service.maxSources })
  const options = signal ? { signal } : {}
  const writer = new Writer(service, prefix, layout, memory, options)
  memory.join()
  try {
    for await (const chunks of body) {
      signal?.throwIfAborted()
      await writer.write(chunks)
    }
    await writer.flush()
    await writeObject(service, memory, prefix, writer.layout, replyKey(id, name), options)
    return name
  } finally {
    memory.leave()
    // Objects that are not removed now are removed with the session.
    await service.remove(objectsOf(writer.layout).map(({ key }) => prefix + key)).catch(() => {})
  }
}

/** Undefined if the reply does not exist. */
export async function loadReply(
  service: ObjectService,
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

import { Readable } from 'node:stream'
import type { Body, StoredReply } from '../store.ts'
import { emptyLayout, objectsOf, randomId, replyKey, uploadPrefix } from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { writeObject } from './publish.ts'
import type { ObjectService, ServiceOptions } from './service/service.ts'
import { Writer } from './writer.ts'

/**
 * Keeps a reply, however large: it travels as the bytes of an upload do, and appears at once.
 * @returns its name: no two have the same, so that none comes late in the place of one that was accepted
 */
export async function writeReply(
  service: ObjectService,
  id: string,
  body: Body,
  { part, memory, signal }: { readonly part: number; readonly memory: MemoryBudget } & ServiceOptions,
): Promise<string> {
  const name = randomId()
  const place = `${uploadPrefix(id)}replies/`
  const nothing = emptyLayout(0, { part, epoch: randomId(), maxSources: service.maxSources })
  const options = signal ? { signal } : {}
  const writer = new Writer(service, place, nothing, memory, options)
  memory.join()
  try {
    for await (const chunks of body) {
      signal?.throwIfAborted()
      await writer.write(chunks)
    }
    await writer.flush()
    await writeObject(service, memory, place, writer.held, replyKey(id, name), options)
    return name
  } finally {
    memory.leave()
    // What is not removed now goes with the session.
    await service.remove(objectsOf(writer.held).map(({ key }) => place + key)).catch(() => {})
  }
}

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

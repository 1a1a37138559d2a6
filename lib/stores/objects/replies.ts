import { Readable } from 'node:stream'
import type { ObjectSpace, SpaceOptions } from '../../objects/space.ts'
import type { Body, StoredReply } from '../store.ts'
import { nothingHeld, objectsOf } from './held.ts'
import type { Memory } from './memory.ts'
import { replyPlace, unique, uploadPlace } from './places.ts'
import { placeWhole } from './publication.ts'
import { Writer } from './writer.ts'

/**
 * Keeps a reply, however large: it travels as the bytes of an upload do, and appears at once.
 * @returns its name: no two have the same, so that none comes late in the place of one that was accepted
 */
export async function writeReply(
  space: ObjectSpace,
  id: string,
  body: Body,
  { part, memory, signal }: { readonly part: number; readonly memory: Memory } & SpaceOptions,
): Promise<string> {
  const name = unique()
  const place = `${uploadPlace(id)}replies/`
  const nothing = nothingHeld(0, { part, epoch: unique(), maxSources: space.maxSources })
  const options = signal ? { signal } : {}
  const writer = new Writer(space, place, nothing, memory, options)
  memory.enter()
  try {
    for await (const chunks of body) {
      signal?.throwIfAborted()
      await writer.write(chunks)
    }
    await writer.flush()
    await placeWhole(space, memory, place, writer.held, replyPlace(id, name), options)
    return name
  } finally {
    memory.leave()
    // What is not removed now goes with the session.
    await space.remove(objectsOf(writer.held).map(({ key }) => place + key)).catch(() => {})
  }
}

export async function loadReply(
  space: ObjectSpace,
  id: string,
  name: string,
  options?: SpaceOptions,
): Promise<StoredReply | undefined> {
  const key = replyPlace(id, name)
  const found = await space.head(key, options)
  if (!found) return undefined
  const read = (first: number, last: number) =>
    first > last ? Readable.from([], { objectMode: false }) : space.read(key, first, last)
  return { size: found.size, modified: found.modified, read }
}

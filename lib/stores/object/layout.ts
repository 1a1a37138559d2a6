import { randomBytes } from 'node:crypto'
import { addAbortSignal, Readable } from 'node:stream'
import { inParallel } from './service/parallel.ts'
import {
  type ComposeSource,
  InternalPrefix,
  type ObjectService,
  type ServiceOptions,
} from './service/service.ts'

/**
 * Where the received bytes of an upload are: in parts, and behind them in tail objects.
 *
 * Usually the parts are those of one upload to the final key (see `createUpload` of the service), which a completion
 * publishes without a copy. If a session is `separate`, each part is an object of its own, which can be read.
 */
export interface UploadLayout {
  /** Id of the upload to the final key; undefined before its first part. */
  readonly upload?: string
  readonly parts: readonly Part[]
  readonly tail: readonly TailObject[]
}

/** Size in bytes and tag of a part. If a session is `separate`, the tag is the name of the object. */
export type Part = readonly [size: number, tag: string]

/** An object with bytes that are fewer than a part must have. */
export interface TailObject {
  /** Unique. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** How often its bytes were compacted: rewritten together with those of other tail objects. */
  readonly level: number
}

/** This many tail objects of one level in a row become one of the next level. */
const CompactionFactor = 32

/** Entries of one page of a list. */
export const ListPageSize = 1000

/** The layout before the first byte. */
export const emptyLayout: UploadLayout = { parts: [], tail: [] }

/**
 * Each fragment writes the record, with about 45 bytes for each part. With parts of at least the square root of this number
 * of bytes times the size of the file, all records together have at most a twentieth of its bytes: n parts take
 * n * n * 45 / 2 bytes.
 */
const RecordCost = (20 * 45) / 2

/** Sizes of the parts of an upload, in bytes. */
export interface PartSizes {
  /** The smallest part, except for the last one of a file. */
  readonly min: number
  /** A part is cut to this size once `min` more bytes are there, so that the rest is not too small for a part. */
  readonly usual: number
  /** Whether all parts except the last one must have the size `usual`. */
  readonly areEqual: boolean
}

/** @param partSize of the options, in bytes */
export function partSizes(
  { minPartBytes, maxParts, equalParts }: ObjectService,
  partSize: number,
  total: number,
  { parts, tail }: UploadLayout,
): PartSizes {
  const min = Math.max(minPartBytes, Math.ceil(total / maxParts), Math.ceil(Math.sqrt(RecordCost * total)))
  const [first] = parts
  const usual = equalParts && first ? first[0] : Math.max(partSize, min, sizeOf(tail))
  return { min, usual, areEqual: equalParts }
}

/** Number of bytes of a layout. */
export const receivedOf = ({ parts, tail }: UploadLayout): number =>
  parts.reduce((sum, [size]) => sum + size, 0) + sizeOf(tail)

/** Number of bytes of several objects. */
export const sizeOf = (objects: readonly { readonly size: number }[]): number =>
  objects.reduce((sum, { size }) => sum + size, 0)

/** The layout after a part was written that has the bytes of all tail objects, and more behind them. */
export const withPart = (layout: UploadLayout, part: Part): UploadLayout => ({
  ...layout,
  parts: [...layout.parts, part],
  tail: [],
})

/** The layout after a tail object was written. */
export const withTailObject = (layout: UploadLayout, object: TailObject): UploadLayout => ({
  ...layout,
  tail: [...layout.tail, object],
})

/**
 * The last tail objects, if they must be compacted into one: thousands of small fragments must not become
 * thousands of objects, nor may each fragment rewrite all bytes. A byte is rewritten once per level; more
 * than three levels are rare.
 */
export function tailToCompact({ tail }: UploadLayout): readonly TailObject[] {
  const level = tail.at(-1)?.level
  const first = tail.findLastIndex((object) => object.level !== level) + 1
  return tail.length - first < CompactionFactor ? [] : tail.slice(first)
}

export const recordsPrefix = `${InternalPrefix}records/`
export const recordKey = (id: string): string => `${recordsPrefix}${id}`

/** Prefix of one folder per session, with all objects of the session except its record. */
export const uploadsPrefix = `${InternalPrefix}uploads/`
export const uploadPrefix = (id: string): string => `${uploadsPrefix}${id}/`
export const bytesPrefix = (id: string): string => `${uploadPrefix(id)}bytes/`
export const replyKey = (id: string, name: string): string => `${uploadPrefix(id)}reply-${name}`

export const partKey = (prefix: string, name: string): string => `${prefix}part-${name}`
export const tailKey = (prefix: string, name: string): string => `${prefix}tail-${name}`

/** A name, or part of a name, that is never used twice. */
export const randomId = (): string => randomBytes(12).toString('base64url')

/** Tail objects as sources. */
export const tailSources = (prefix: string, tail: readonly TailObject[]): ComposeSource[] =>
  tail.map(({ name, size }) => ({ key: tailKey(prefix, name), size }))

/**
 * The objects with the bytes of an upload, in order. Parts of an upload to the final key are no objects.
 * @param prefix of their keys
 */
export function objectsOf(
  prefix: string,
  { parts, tail }: UploadLayout,
  isSeparate: boolean | undefined,
): ComposeSource[] {
  const objects = isSeparate ? parts.map(([size, name]) => ({ key: partKey(prefix, name), size })) : []
  return [...objects, ...tailSources(prefix, tail)]
}

/** Whether all these objects, whose keys begin with a prefix, exist. */
export async function exist(
  service: ObjectService,
  prefix: string,
  objects: readonly ComposeSource[],
  options: ServiceOptions,
): Promise<boolean> {
  const missing = new Map(objects.map(({ key, size }) => [key, size]))
  for await (const { key, size } of service.list(prefix, options)) {
    if (missing.get(key) === size) missing.delete(key)
  }
  return missing.size === 0
}

/** The concatenated bytes of objects, as a stream. */
export function streamObjects(service: ObjectService, sources: readonly ComposeSource[]): Readable {
  return Readable.from(streamChunks(service, sources), { objectMode: false })
}

/** The concatenated bytes of objects, in memory. The objects are read concurrently. */
export async function readIntoMemory(
  service: ObjectService,
  sources: readonly ComposeSource[],
  { signal }: ServiceOptions,
): Promise<Uint8Array[]> {
  const all = await inParallel(sources, sources.length, signal, async ({ key, size }, either) => {
    const chunks: Uint8Array[] = []
    if (size === 0) return chunks
    const stream = addAbortSignal(either, service.read(key, 0, size - 1))
    for await (const chunk of stream) chunks.push(chunk)
    return chunks
  })
  return all.flat()
}

async function* streamChunks(
  service: ObjectService,
  sources: readonly ComposeSource[],
): AsyncGenerator<Uint8Array> {
  for (const { key, size } of sources) if (size > 0) yield* service.read(key, 0, size - 1)
}

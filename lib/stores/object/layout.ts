import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  type ComposeSource,
  InternalPrefix,
  type ObjectService,
  type ServiceOptions,
} from './service/service.ts'

/**
 * The received bytes of an upload as objects, in this order: groups, parts, tail objects.
 *
 * - A part has `partSize` bytes, which one request writes.
 * - A group is one object composed of `partsPerGroup` parts. Only files with more parts than one compose call
 *   accepts have groups.
 * - The tail objects hold the bytes behind the last part, together less than a part.
 *
 * The keys of groups and parts follow from their numbers, so that the size of the layout does not depend on
 * the size of the file. Part size and group size are fixed by the first fragment.
 */
export interface UploadLayout {
  /**
   * Random part of all keys. When bytes were lost and the upload starts again, its new objects have other
   * keys than what remains of the old ones.
   */
  readonly epoch: string
  /** Bytes. */
  readonly partSize: number
  /** 1: the layout has no groups. */
  readonly partsPerGroup: number
  /** Number of groups. */
  readonly groups: number
  /** Number of parts behind the groups. */
  readonly parts: number
  readonly tail: readonly TailObject[]
}

/** An object with bytes that do not fill a part. */
export interface TailObject {
  /** Unique. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** How often its bytes were compacted: rewritten together with those of other tail objects. */
  readonly level: number
}

/**
 * Share of the sources of a compose call that groups may use; the rest is for the parts behind the last
 * group.
 */
const ComposeHeadroom = 0.9

/** This many tail objects of one level in a row become one of the next level. */
const CompactionFactor = 32

/** Entries of one page of a list. */
export const ListPageSize = 1000

/** The layout of a file of `total` bytes before its first byte. */
export function emptyLayout(
  total: number,
  {
    partSize,
    epoch,
    maxSources,
  }: Pick<UploadLayout, 'partSize' | 'epoch'> & Pick<ObjectService, 'maxSources'>,
): UploadLayout {
  const partsPerGroup = Math.max(1, Math.ceil(total / (partSize * Math.floor(maxSources * ComposeHeadroom))))
  return { epoch, partSize, partsPerGroup, groups: 0, parts: 0, tail: [] }
}

/** Number of bytes of a layout. */
export const receivedOf = (layout: UploadLayout): number =>
  layout.partSize * partCount(layout) + sizeOf(layout.tail)

/** Number of bytes of several objects. */
export const sizeOf = (objects: readonly { readonly size: number }[]): number =>
  objects.reduce((sum, { size }) => sum + size, 0)

/** Number of parts, including those in groups. */
const partCount = ({ groups, partsPerGroup, parts }: UploadLayout): number => groups * partsPerGroup + parts

/** The layout after a part was written that has the bytes of all tail objects, and more behind them. */
export const withPart = (layout: UploadLayout): UploadLayout => ({
  ...layout,
  parts: layout.parts + 1,
  tail: [],
})

/** The layout after a tail object was written. */
export const withTailObject = (layout: UploadLayout, object: TailObject): UploadLayout => ({
  ...layout,
  tail: [...layout.tail, object],
})

/** The key of the next part, below the prefix of the upload's bytes. */
export const nextPartKey = (layout: UploadLayout): string => partKey(layout, partCount(layout))

/** The objects of a layout, in the order of their bytes. Keys are below the prefix of the upload's bytes. */
export function objectsOf(layout: UploadLayout): ComposeSource[] {
  const { groups, partsPerGroup, partSize, parts, tail, epoch } = layout
  const range = (count: number, keyOf: (i: number) => string, size: number): ComposeSource[] =>
    Array.from({ length: count }, (_, i) => ({ key: keyOf(i), size }))
  return [
    ...range(groups, (i) => groupKey(layout, i), partSize * partsPerGroup),
    ...range(parts, (i) => partKey(layout, groups * partsPerGroup + i), partSize),
    ...tail.map(({ name, size }) => ({ key: tailObjectKey(epoch, name), size })),
  ]
}

/** The next group, if its parts exist. */
export function nextGroup(
  layout: UploadLayout,
): { key: string; sources: ComposeSource[]; after: UploadLayout } | undefined {
  const { partsPerGroup, groups, parts, partSize } = layout
  if (partsPerGroup === 1 || parts < partsPerGroup) return undefined
  const sources = Array.from({ length: partsPerGroup }, (_, i) => ({
    key: partKey(layout, groups * partsPerGroup + i),
    size: partSize,
  }))
  return {
    key: groupKey(layout, groups),
    sources,
    after: { ...layout, groups: groups + 1, parts: parts - partsPerGroup },
  }
}

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

const groupKey = ({ epoch }: UploadLayout, i: number): string => `${epoch}/group-${paddedNumber(i)}`
const partKey = ({ epoch }: UploadLayout, i: number): string => `${epoch}/part-${paddedNumber(i)}`
export const tailObjectKey = (epoch: string, name: string): string => `${epoch}/piece-${name}`

/** Numbers have leading zeros, so that services list the objects in the order of their bytes. */
const paddedNumber = (i: number): string => String(i).padStart(8, '0')

export const recordsPrefix = `${InternalPrefix}records/`
export const recordKey = (id: string): string => `${recordsPrefix}${id}`

/** Prefix of one folder per session, with all objects of the session except its record. */
export const uploadsPrefix = `${InternalPrefix}uploads/`
export const uploadPrefix = (id: string): string => `${uploadsPrefix}${id}/`
export const bytesPrefix = (id: string): string => `${uploadPrefix(id)}bytes/`
export const replyKey = (id: string, name: string): string => `${uploadPrefix(id)}reply-${name}`

/** A name, or part of a name, that is never used twice. */
export const randomId = (): string => randomBytes(12).toString('base64url')

/** A list of the objects that hold an upload's bytes, complete or only its first page. */
export class ObjectListing {
  readonly #sizes = new Map<string, number>()
  #isComplete = true

  static async load(
    service: ObjectService,
    id: string,
    { limit = ListPageSize, signal }: { readonly limit?: number } & ServiceOptions = {},
  ): Promise<ObjectListing> {
    const listing = new ObjectListing()
    const prefix = bytesPrefix(id)
    for await (const { key, size } of service.list(prefix, signal ? { signal } : {})) {
      listing.#sizes.set(key.slice(prefix.length), size)
      if (listing.#sizes.size < limit) continue
      listing.#isComplete = false
      break
    }
    return listing
  }

  get isComplete(): boolean {
    return this.#isComplete
  }

  /**
   * Whether all objects of a layout exist, as far as they were listed. Lists are in the order of the keys.
   */
  covers(layout: UploadLayout): boolean {
    const last = this.#isComplete ? undefined : [...this.#sizes.keys()].at(-1)
    return objectsOf(layout).every(({ key, size }) =>
      last !== undefined && key > last ? true : this.#sizes.get(key) === size,
    )
  }
}

/** The concatenated bytes of objects, as a stream. */
export function streamObjects(service: ObjectService, sources: readonly ComposeSource[]): Readable {
  return Readable.from(streamChunks(service, sources), { objectMode: false })
}

/** The concatenated bytes of objects, in memory. The objects are read concurrently. */
export async function readIntoMemory(
  service: ObjectService,
  sources: readonly ComposeSource[],
): Promise<Buffer> {
  const all = await Promise.all(
    sources.map(async (source) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of streamChunks(service, [source])) chunks.push(chunk)
      return chunks
    }),
  )
  return Buffer.concat(all.flat())
}

async function* streamChunks(
  service: ObjectService,
  sources: readonly ComposeSource[],
): AsyncGenerator<Uint8Array> {
  for (const { key, size } of sources) if (size > 0) yield* service.read(key, 0, size - 1)
}

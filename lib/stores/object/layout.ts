import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  type ComposeSource,
  InternalPrefix,
  type ObjectService,
  type ServiceOptions,
} from './service/service.ts'

/**
 * How the bytes of an upload are cut, fixed by its first fragment. A part is what one request writes, and what memory
 * has room for. A file of so many parts that no join takes them has groups: parts that were joined before.
 */
interface LayoutParameters {
  /** Bytes of a part. */
  readonly part: number
  /** Parts of a group; 1: there are no groups. */
  readonly compactedParts: number
}

/** Bytes that do not fill a part. */
export interface TailObject {
  /** No two have the same. */
  readonly name: string
  readonly size: number
  /** How often its bytes were gathered from smaller ones. */
  readonly level: number
}

/**
 * The bytes of an upload that are held, as objects: whole groups, behind them whole parts, behind them pieces that
 * together are less than a part. Groups and parts are told by their number alone: what is told of a file does not grow
 * with it.
 */
export interface UploadLayout extends LayoutParameters {
  /** Part of all names: what was lost and came anew does not meet what is left of it. */
  readonly epoch: string
  readonly groups: number
  /** Behind the groups. */
  readonly parts: number
  readonly pieces: readonly TailObject[]
}

/** Joins leave room for the parts behind the last whole group. */
const JoinHeadroom = 0.9

/** Nothing, of a file of this size. */
export function emptyLayout(
  total: number,
  { part, epoch, maxSources }: Pick<UploadLayout, 'part' | 'epoch'> & Pick<ObjectService, 'maxSources'>,
): UploadLayout {
  const compactedParts = Math.max(1, Math.ceil(total / (part * Math.floor(maxSources * JoinHeadroom))))
  return { epoch, part, compactedParts, groups: 0, parts: 0, pieces: [] }
}

export const layoutSize = (objects: readonly { readonly size: number }[]): number =>
  objects.reduce((sum, { size }) => sum + size, 0)

export const tailSize = ({ pieces }: UploadLayout): number => layoutSize(pieces)

/** How many bytes are held. */
export const receivedOf = (held: UploadLayout): number => held.part * partsOf(held) + tailSize(held)

/** How many parts, those in groups too. */
const partsOf = ({ groups, compactedParts, parts }: UploadLayout): number => groups * compactedParts + parts

/** What is held when a part is there that has the pieces' bytes, and what came behind them. */
export const withPart = (held: UploadLayout): UploadLayout => ({ ...held, parts: held.parts + 1, pieces: [] })

export const withPiece = (held: UploadLayout, piece: TailObject): UploadLayout => ({
  ...held,
  pieces: [...held.pieces, piece],
})

/** The name of the part behind those that are held. */
export const nextPart = (held: UploadLayout): string => partName(held, partsOf(held))

/** The objects that hold the bytes, in their order: names, to be looked for below the upload's place. */
export function objectsOf(held: UploadLayout): ComposeSource[] {
  const { groups, compactedParts, part, parts, pieces, epoch } = held
  const range = (count: number, name: (i: number) => string, size: number): ComposeSource[] =>
    Array.from({ length: count }, (_, i) => ({ key: name(i), size }))
  return [
    ...range(groups, (i) => groupName(held, i), part * compactedParts),
    ...range(parts, (i) => partName(held, groups * compactedParts + i), part),
    ...pieces.map(({ name, size }) => ({ key: pieceName(epoch, name), size })),
  ]
}

/** A group that can be made: of these parts. */
export function nextGroup(
  held: UploadLayout,
): { key: string; of: ComposeSource[]; after: UploadLayout } | undefined {
  const { compactedParts, groups, parts, part } = held
  if (compactedParts === 1 || parts < compactedParts) return undefined
  const of = Array.from({ length: compactedParts }, (_, i) => ({
    key: partName(held, groups * compactedParts + i),
    size: part,
  }))
  return {
    key: groupName(held, groups),
    of,
    after: { ...held, groups: groups + 1, parts: parts - compactedParts },
  }
}

/** So many pieces of one level, one behind the other, become one of the next. */
const CompactionFactor = 32

/**
 * The pieces at the end that are to be gathered into one: thousands of small fragments must not become thousands of
 * objects, nor may all of them be written anew for each. Every byte is gathered once a level; two or three are many.
 */
export function tailToCompact({ pieces }: UploadLayout): readonly TailObject[] {
  const level = pieces.at(-1)?.level
  const first = pieces.findLastIndex((piece) => piece.level !== level) + 1
  return pieces.length - first < CompactionFactor ? [] : pieces.slice(first)
}

/** The names have their groups' and parts' numbers with zeros in front, so that services list them in order. */
const numbered = (kind: string, i: number): string => `${kind}${String(i).padStart(8, '0')}`
const groupName = ({ epoch }: UploadLayout, i: number): string => `${epoch}/${numbered('group-', i)}`
const partName = ({ epoch }: UploadLayout, i: number): string => `${epoch}/${numbered('part-', i)}`
export const pieceName = (epoch: string, name: string): string => `${epoch}/piece-${name}`

export const recordPlaces = `${InternalPrefix}records/`
export const recordKey = (id: string): string => `${recordPlaces}${id}`

/** All that a session has but its record, below a folder of its own. */
export const uploadPlaces = `${InternalPrefix}uploads/`
export const uploadPrefix = (id: string): string => `${uploadPlaces}${id}/`
export const bytesPrefix = (id: string): string => `${uploadPrefix(id)}bytes/`
export const replyKey = (id: string, name: string): string => `${uploadPrefix(id)}reply-${name}`

/** A name, or part of one, that was never used and never will be. */
export const randomId = (): string => randomBytes(12).toString('base64url')

/** What one request lists. */
const Page = 1000

/** The objects of an upload's bytes, the first of them or all, with their sizes. */
export class ObjectListing {
  readonly #sizes = new Map<string, number>()
  #isAll = true

  static async load(
    service: ObjectService,
    id: string,
    { limit = Page, signal }: { readonly limit?: number } & ServiceOptions = {},
  ): Promise<ObjectListing> {
    const found = new ObjectListing()
    const place = bytesPrefix(id)
    for await (const { key, size } of service.list(place, signal ? { signal } : {})) {
      found.#sizes.set(key.slice(place.length), size)
      if (found.#sizes.size < limit) continue
      found.#isAll = false
      break
    }
    return found
  }

  get isAll(): boolean {
    return this.#isAll
  }

  /** Whether all that is said to be held is there, as far as was looked. Lists come in the order of the names. */
  covers(held: UploadLayout): boolean {
    const last = this.#isAll ? undefined : [...this.#sizes.keys()].at(-1)
    return objectsOf(held).every(({ key, size }) =>
      last !== undefined && key > last ? true : this.#sizes.get(key) === size,
    )
  }
}

/** The bytes of objects, one behind the other. */
export function readThrough(service: ObjectService, sources: readonly ComposeSource[]): Readable {
  return Readable.from(readParts(service, sources), { objectMode: false })
}

async function* readParts(
  service: ObjectService,
  sources: readonly ComposeSource[],
): AsyncGenerator<Uint8Array> {
  for (const { key, size } of sources) if (size > 0) yield* service.read(key, 0, size - 1)
}

/** The bytes of objects that memory has room for. */
export async function readAll(service: ObjectService, sources: readonly ComposeSource[]): Promise<Buffer> {
  const all = await Promise.all(
    sources.map(async ({ key, size }) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of readParts(service, [{ key, size }])) chunks.push(chunk)
      return chunks
    }),
  )
  return Buffer.concat(all.flat())
}

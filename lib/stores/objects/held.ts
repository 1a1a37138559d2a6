import type { ObjectSpace, Source } from '../../objects/space.ts'

/**
 * How the bytes of an upload are cut, fixed by its first fragment. A part is what one request writes, and what memory
 * has room for. A file of so many parts that no join takes them has groups: parts that were joined before.
 */
interface Cut {
  /** Bytes of a part. */
  readonly part: number
  /** Parts of a group; 1: there are no groups. */
  readonly group: number
}

/** Bytes that do not fill a part. */
export interface Piece {
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
export interface Held extends Cut {
  /** Part of all names: what was lost and came anew does not meet what is left of it. */
  readonly epoch: string
  readonly groups: number
  /** Behind the groups. */
  readonly parts: number
  readonly pieces: readonly Piece[]
}

/** Joins leave room for the parts behind the last whole group. */
const room = 0.9

/** Nothing, of a file of this size. */
export function nothingHeld(
  total: number,
  { part, epoch, maxSources }: Pick<Held, 'part' | 'epoch'> & Pick<ObjectSpace, 'maxSources'>,
): Held {
  const group = Math.max(1, Math.ceil(total / (part * Math.floor(maxSources * room))))
  return { epoch, part, group, groups: 0, parts: 0, pieces: [] }
}

export const sizeOf = (objects: readonly { readonly size: number }[]): number =>
  objects.reduce((sum, { size }) => sum + size, 0)

export const tailOf = ({ pieces }: Held): number => sizeOf(pieces)

/** How many bytes are held. */
export const receivedOf = (held: Held): number => held.part * partsOf(held) + tailOf(held)

/** How many parts, those in groups too. */
const partsOf = ({ groups, group, parts }: Held): number => groups * group + parts

/** What is held when a part is there that has the pieces' bytes, and what came behind them. */
export const withPart = (held: Held): Held => ({ ...held, parts: held.parts + 1, pieces: [] })

export const withPiece = (held: Held, piece: Piece): Held => ({ ...held, pieces: [...held.pieces, piece] })

/** The name of the part behind those that are held. */
export const nextPart = (held: Held): string => partName(held, partsOf(held))

/** The objects that hold the bytes, in their order: names, to be looked for below the upload's place. */
export function objectsOf(held: Held): Source[] {
  const { groups, group, part, parts, pieces, epoch } = held
  const range = (count: number, name: (i: number) => string, size: number): Source[] =>
    Array.from({ length: count }, (_, i) => ({ key: name(i), size }))
  return [
    ...range(groups, (i) => groupName(held, i), part * group),
    ...range(parts, (i) => partName(held, groups * group + i), part),
    ...pieces.map(({ name, size }) => ({ key: pieceName(epoch, name), size })),
  ]
}

/** A group that can be made: of these parts. */
export function nextGroup(held: Held): { key: string; of: Source[]; after: Held } | undefined {
  const { group, groups, parts, part } = held
  if (group === 1 || parts < group) return undefined
  const of = Array.from({ length: group }, (_, i) => ({
    key: partName(held, groups * group + i),
    size: part,
  }))
  return { key: groupName(held, groups), of, after: { ...held, groups: groups + 1, parts: parts - group } }
}

/** So many pieces of one level, one behind the other, become one of the next. */
const gathering = 32

/**
 * The pieces at the end that are to be gathered into one: thousands of small fragments must not become thousands of
 * objects, nor may all of them be written anew for each. Every byte is gathered once a level; two or three are many.
 */
export function gatherable({ pieces }: Held): readonly Piece[] {
  const level = pieces.at(-1)?.level
  const first = pieces.findLastIndex((piece) => piece.level !== level) + 1
  return pieces.length - first < gathering ? [] : pieces.slice(first)
}

/** The names have their groups' and parts' numbers with zeros in front, so that services list them in order. */
const numbered = (kind: string, i: number): string => `${kind}${String(i).padStart(8, '0')}`
const groupName = ({ epoch }: Held, i: number): string => `${epoch}/${numbered('group-', i)}`
const partName = ({ epoch }: Held, i: number): string => `${epoch}/${numbered('part-', i)}`
export const pieceName = (epoch: string, name: string): string => `${epoch}/piece-${name}`

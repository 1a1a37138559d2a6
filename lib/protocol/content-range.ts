/** The place of a fragment in its file; `last` is inclusive, and an empty fragment has `last` = `first` - 1. */
export interface ContentRange {
  readonly first: number
  readonly last: number
  readonly total: number
}

const syntax = /^bytes +(\d{1,19})-(\d{1,19})\/(\d{1,19})$/i

/**
 * RFC 2616 14.16 has no range for an empty file, and nobody knows what Windows would send for one. These are the
 * spellings that clients have been seen or may be expected to try.
 */
const empty = /^bytes +(?:\*|0-0|0--1)\/0$/i

export const emptyFile: ContentRange = { first: 0, last: -1, total: 0 }

/**
 * Reads a Content-Range of a fragment. Undefined for all that is not a whole, satisfiable byte range: `*` forms, other
 * units, `last` before `first` or not before `total`, numbers beyond 2^53 - 1 (IIS itself stops at a fifth of that).
 */
export function readContentRange(value: string): ContentRange | undefined {
  if (empty.test(value)) return emptyFile
  const match = syntax.exec(value)
  if (!match) return undefined
  const [first, last, total] = match.slice(1).map(Number) as [number, number, number]
  const whole = Number.isSafeInteger(total) && first <= last && last < total
  return whole ? { first, last, total } : undefined
}

/** How many bytes a range names. */
export const lengthOf = ({ first, last }: ContentRange): number => last - first + 1

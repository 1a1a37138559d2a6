/** The position of a fragment in its file: the header field Content-Range ([MC-BUP] 2.2.6.1). */
export interface ContentRange {
  /** Offset of the first byte. */
  readonly first: number
  /** Offset of the last byte, inclusive; of an empty fragment `first - 1`. */
  readonly last: number
  /** Size of the whole file in bytes. */
  readonly total: number
}

const syntax = /^bytes +(\d{1,19})-(\d{1,19})\/(\d{1,19})$/i

/**
 * Forms of the range of an empty file. RFC 2616 14.16 defines none, and what Windows would send is not known.
 * These are the forms that clients were seen to send or may send.
 */
const empty = /^bytes +(?:\*|0-0|0--1)\/0$/i

export const emptyFile: ContentRange = { first: 0, last: -1, total: 0 }

/**
 * Parses the Content-Range of a fragment. Returns undefined unless it is a complete, satisfiable byte range:
 * for `*` forms, other units, `last` before `first` or not before `total`, and numbers above 2^53 - 1 (the
 * limit of IIS is a fifth of that).
 */
export function readContentRange(value: string): ContentRange | undefined {
  if (empty.test(value)) return emptyFile
  const match = syntax.exec(value)
  if (!match) return undefined
  const [first, last, total] = match.slice(1).map(Number) as [number, number, number]
  const isValid = Number.isSafeInteger(total) && first <= last && last < total
  return isValid ? { first, last, total } : undefined
}

/** Number of bytes in a range. */
export const lengthOf = ({ first, last }: ContentRange): number => last - first + 1

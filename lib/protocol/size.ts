import bytes from 'bytes'

/** A number of bytes, or a string such as `'500kb'`, `'10gb'`, `'1.5tb'`; units are powers of 1024, in any case. */
export type Size = number | string

/** The number of bytes that a size names; undefined for what names none from 1 to 2^53 - 1. */
export function readSize(value: unknown): number | undefined {
  // The library would read '10 apples' as 10.
  const text = typeof value === 'string' && /^\d+(\.\d+)? *([kmgtp]?b)$/i.test(value)
  const size = text ? bytes.parse(value) : value
  const usable = typeof size === 'number' && size >= 1 && size <= Number.MAX_SAFE_INTEGER
  return usable ? Math.floor(size) : undefined
}

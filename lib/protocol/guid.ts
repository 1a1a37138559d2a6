import { randomUUID } from 'node:crypto'

const curly = /^\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}$/i

/**
 * A GUID in MS-DTYP 2.3.4.3 form and upper case, as IIS writes it, for it is a bearer's secret: 122 random bits.
 * @param mark six hexadecimal digits for it to begin with, which anybody may know; then 98 bits are random
 * @throws {TypeError} if `mark` is something else
 */
export function newGuid(mark?: string): string {
  const random = randomUUID().toUpperCase()
  if (mark === undefined) return `{${random}}`
  if (!/^[0-9A-F]{6}$/.test(mark)) throw new TypeError('A mark is six hexadecimal digits, in upper case')
  return `{${mark}${random.slice(mark.length)}}`
}

/** The one spelling of a GUID that came in any case; undefined if it is none. */
export const readGuid = (text: string): string | undefined =>
  curly.test(text) ? text.toUpperCase() : undefined

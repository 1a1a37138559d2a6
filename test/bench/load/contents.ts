import { createCipheriv } from 'node:crypto'

/** No multiple of any fragment's length: a wrong offset shows. */
const Period = 8 * 1024 * 1024 + 4099

/** Bytes that look random, the same in every process. */
const pattern = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(Period))

/** A part of a file's contents, in up to two pieces. Files of different salt differ. */
export function contents(salt: number, first: number, length: number): Buffer[] {
  const begin = (first + salt * 65_537) % Period
  const piece = pattern.subarray(begin, begin + length)
  const pieces = [piece]
  for (let left = length - piece.length; left > 0; left -= Period) pieces.push(pattern.subarray(0, left))
  return pieces
}

import { createCipheriv } from 'node:crypto'

/** Not a multiple of any fragment's length, so that bytes at a wrong offset differ. */
const PeriodBytes = 8 * 1024 * 1024 + 4099

/** Pseudo-random bytes, the same in every process. */
const pattern = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
  Buffer.alloc(PeriodBytes),
)

/** A range of a file's contents, in pieces. Files with different salts have different contents. */
export function contents(salt: number, first: number, length: number): Buffer[] {
  const begin = (first + salt * 65_537) % PeriodBytes
  const piece = pattern.subarray(begin, begin + length)
  const pieces = [piece]
  for (let rest = length - piece.length; rest > 0; rest -= PeriodBytes) {
    pieces.push(pattern.subarray(0, rest))
  }
  return pieces
}

/** How many bytes a batch has. */
export function byteLength(chunks: readonly Uint8Array[]): number {
  let sum = 0
  for (const chunk of chunks) sum += chunk.length
  return sum
}

/** What is left of a batch after its first `count` bytes; the bytes are not copied. */
export function dropBytes(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  let left = count
  return chunks.flatMap((chunk) => {
    const skip = Math.min(left, chunk.length)
    left -= skip
    return skip === chunk.length ? [] : [chunk.subarray(skip)]
  })
}

/** The number of bytes in a batch. */
export function byteLength(chunks: readonly Uint8Array[]): number {
  let sum = 0
  for (const chunk of chunks) sum += chunk.length
  return sum
}

/** The batch without its first `count` bytes. Bytes are not copied. */
export function dropBytes(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  let remaining = count
  return chunks.flatMap((chunk) => {
    const skipped = Math.min(remaining, chunk.length)
    remaining -= skipped
    return skipped === chunk.length ? [] : [chunk.subarray(skipped)]
  })
}

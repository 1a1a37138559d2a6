/** As much as a socket gives at once. */
const BlockSize = 64 * 1024

/**
 * Bytes that wait to be written together. They are copied, for the memory of a chunk is the giver's again when he is asked
 * for more; and into blocks, for a chunk may be of a single byte, and would take a hundred for itself.
 */
export class Gathered {
  #blocks: Buffer[] = []
  #size = 0

  /** How many they are. */
  get size(): number {
    return this.#size
  }

  add(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      const at = this.#size % BlockSize
      if (at === 0) this.#blocks.push(Buffer.allocUnsafe(BlockSize))
      const taken = rest.subarray(0, BlockSize - at)
      this.#blocks.at(-1)?.set(taken, at)
      this.#size += taken.length
      rest = rest.subarray(taken.length)
    }
  }

  /** Gives all of them away. */
  take(): Uint8Array[] {
    const used = (i: number): number => Math.min(BlockSize, this.#size - i * BlockSize)
    const chunks = this.#blocks.map((block, i) => block.subarray(0, used(i)))
    this.#blocks = []
    this.#size = 0
    return chunks
  }
}

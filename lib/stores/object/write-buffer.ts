/** Size in bytes of the first block: the largest chunk of a socket. */
const FirstBlockBytes = 64 * 1024
/** Size in bytes of the blocks of a large buffer: each chunk of a request costs processor time. */
const MaxBlockBytes = 1024 * 1024

/**
 * Bytes that are collected for one write. They are copied, because the memory of a chunk belongs to the body
 * again when the next batch is requested; and into blocks, because a chunk may have a single byte, and each
 * Buffer takes about a hundred bytes. Each block is as large as all blocks before it, within limits.
 */
export class WriteBuffer {
  /** The bytes of full blocks, and at the end those of the last block. */
  #chunks: Uint8Array[] = []
  /** The free bytes of the last block. */
  #free = new Uint8Array(0)
  #size = 0

  /** Number of bytes. */
  get size(): number {
    return this.#size
  }

  add(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#free.length === 0) this.#addBlock()
      const copied = rest.subarray(0, this.#free.length)
      this.#free.set(copied)
      this.#free = this.#free.subarray(copied.length)
      this.#size += copied.length
      rest = rest.subarray(copied.length)
    }
  }

  /** Removes the first bytes from the buffer, and returns them. */
  take(count = this.#size): Uint8Array[] {
    const last = this.#chunks.pop()
    const all = last ? [...this.#chunks, last.subarray(0, last.length - this.#free.length)] : []
    this.#chunks = []
    this.#free = new Uint8Array(0)
    this.#size = 0
    const taken: Uint8Array[] = []
    let missing = count
    for (const chunk of all) {
      if (missing > 0) taken.push(chunk.subarray(0, missing))
      if (chunk.length > missing) this.add(chunk.subarray(missing))
      missing = Math.max(0, missing - chunk.length)
    }
    return taken
  }

  #addBlock(): void {
    const size = Math.min(MaxBlockBytes, Math.max(FirstBlockBytes, this.#size))
    const block = Buffer.allocUnsafeSlow(size)
    this.#chunks.push(block)
    this.#free = block
  }
}

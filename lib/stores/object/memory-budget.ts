/** The smallest write in bytes that is worth a request. */
const MinBufferBytes = 64 * 1024

/** Largest number of writes of one fragment that are in progress at the same time. */
const MaxWrites = 4

/**
 * The memory for bytes in transit, shared by all fragments that arrive at the same time. With few fragments
 * each buffers whole parts and writes several of them at a time; with thousands each buffers little before it
 * writes.
 */
export class MemoryBudget {
  readonly #size: number
  readonly #partSize: number
  #fragments = 0
  #reserved = 0
  readonly #queue: { readonly bytes: number; readonly start: () => void }[] = []

  /**
   * @param size bytes
   * @param partSize bytes of a part
   */
  constructor(size: number, partSize: number) {
    this.#size = size
    this.#partSize = partSize
  }

  /** Called when a fragment begins. */
  join(): void {
    this.#fragments += 1
  }

  /** Called when a fragment ends. */
  leave(): void {
    this.#fragments -= 1
  }

  /**
   * Runs work that reads `bytes` back from the service, once there is room for them. All such work together
   * may use as much memory again as the buffers of all fragments, because thousands of fragments may complete
   * a part at the same moment.
   */
  async reserve<Result>(bytes: number, work: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((start) => {
      this.#queue.push({ bytes, start })
      this.#startNext()
    })
    try {
      return await work()
    } finally {
      this.#reserved -= bytes
      this.#startNext()
    }
  }

  #startNext(): void {
    for (let [next] = this.#queue; next; [next] = this.#queue) {
      // A single reservation may exceed the budget: a part of an upload that began with a larger part size.
      if (this.#reserved > 0 && this.#reserved + next.bytes > this.#size) return
      this.#queue.shift()
      this.#reserved += next.bytes
      next.start()
    }
  }

  /** Bytes that a fragment buffers before it writes them, at most a part. */
  get bufferSize(): number {
    return Math.min(this.#partSize, Math.max(MinBufferBytes, Math.floor(this.#share / 2)))
  }

  /** Number of writes that a fragment may have in progress besides its buffer. */
  get maxWrites(): number {
    return Math.min(MaxWrites, Math.max(1, Math.floor(this.#share / this.bufferSize) - 1))
  }

  get #share(): number {
    return this.#size / Math.max(1, this.#fragments)
  }
}

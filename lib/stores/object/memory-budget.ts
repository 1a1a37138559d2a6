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
  #fragments = 0
  #reserved = 0
  readonly #queue: { readonly bytes: number; readonly start: () => void }[] = []

  /** @param size bytes */
  constructor(size: number) {
    this.#size = size
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
   * @param signal ends the wait
   */
  async reserve<Result>(
    bytes: number,
    signal: AbortSignal | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#queue.splice(this.#queue.indexOf(entry), 1)
        reject(signal?.reason)
        this.#startNext()
      }
      const start = (): void => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      const entry = { bytes, start }
      this.#queue.push(entry)
      signal?.addEventListener('abort', abort)
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

  /**
   * Bytes that a fragment may buffer before it writes them.
   * @param most bytes that it can use
   */
  bufferSize(most: number): number {
    return Math.min(most, Math.max(MinBufferBytes, Math.floor(this.#share / 2)))
  }

  /**
   * Number of writes that a fragment may have in progress besides its buffer.
   * @param most bytes of its buffer
   */
  maxWrites(most: number): number {
    return Math.min(MaxWrites, Math.max(1, Math.floor(this.#share / this.bufferSize(most)) - 1))
  }

  get #share(): number {
    return this.#size / Math.max(1, this.#fragments)
  }
}

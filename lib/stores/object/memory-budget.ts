/** The fewest bytes that are worth a request. */
const MinBufferBytes = 64 * 1024

/**
 * The memory that the bytes on their way may take together, shared by the fragments that arrive at the same time: a few
 * are given whole parts, several of them in flight; of thousands each gathers little before it writes.
 */
export class MemoryBudget {
  readonly #size: number
  readonly #part: number
  #shares = 0
  #lent = 0
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = []

  /** @param size bytes */
  constructor(size: number, part: number) {
    this.#size = size
    this.#part = part
  }

  join(): void {
    this.#shares += 1
  }

  leave(): void {
    this.#shares -= 1
  }

  /**
   * Does what needs so many bytes that were written before, as soon as there is room. Together that is as much again as all
   * fragments gather: thousands may come to the end of a part at the same moment.
   */
  async reserve<Result>(bytes: number, work: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((go) => {
      this.#waiting.push({ bytes, go })
      this.#serve()
    })
    try {
      return await work()
    } finally {
      this.#lent -= bytes
      this.#serve()
    }
  }

  #serve(): void {
    for (let [next] = this.#waiting; next; [next] = this.#waiting) {
      // One alone may be larger than all: a part of an upload that began with larger ones.
      if (this.#lent > 0 && this.#lent + next.bytes > this.#size) return
      this.#waiting.shift()
      this.#lent += next.bytes
      next.go()
    }
  }

  /** How many bytes a fragment may gather before it writes them, a part at most. */
  get bufferSize(): number {
    return Math.min(this.#part, Math.max(MinBufferBytes, Math.floor(this.#share / 2)))
  }

  /** How many writes of a fragment may be under way beside what it gathers. */
  get inFlight(): number {
    return Math.min(4, Math.max(1, Math.floor(this.#share / this.bufferSize) - 1))
  }

  get #share(): number {
    return this.#size / Math.max(1, this.#shares)
  }
}

/** Milliseconds over which the rate is taken: long enough to be read, short enough to tell of a change. */
const Window = 10_000

interface Sample {
  readonly at: number
  readonly bytes: number
}

/** How fast bytes go out, over the last seconds. */
export class Meter {
  readonly #now: () => number
  #bytes = 0
  #samples: Sample[]

  constructor(now: () => number) {
    this.#now = now
    this.#samples = [{ at: now(), bytes: 0 }]
  }

  add(bytes: number): void {
    this.#bytes += bytes
  }

  /** Bytes a second. To be asked now and then: each time the question is remembered. */
  rate(): number {
    const at = this.#now()
    // The oldest that is left is the last one outside the window.
    while (at - (this.#samples[1]?.at ?? at) >= Window) this.#samples.shift()
    const [oldest] = this.#samples
    if (this.#samples.at(-1)?.at !== at) this.#samples.push({ at, bytes: this.#bytes })
    if (!oldest || at <= oldest.at) return 0
    return ((this.#bytes - oldest.bytes) / (at - oldest.at)) * 1000
  }
}

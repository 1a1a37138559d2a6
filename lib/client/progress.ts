/** What an upload is doing. */
export type UploadState =
  | 'create-session'
  | 'ping'
  | 'fragment'
  | 'reply'
  | 'close-session'
  | 'waiting'
  | 'done'

/** How an upload goes. */
export interface UploadProgress {
  /** The packet that is under way; `waiting` for the next try. */
  readonly state: UploadState
  /** Bytes that the server holds, as it last said. */
  readonly held: number
  /** Bytes that are held or on their way. After a break it goes back. */
  readonly sent: number
  /** Bytes of the file. */
  readonly total: number
  /** Bytes a second, over the last ten seconds. */
  readonly rate: number
  /** Seconds that the rest takes at this rate; `Infinity` while nothing moves. */
  readonly timeLeft: number
  /** Bytes of the reply that have come. */
  readonly replyReceived: number
  /** While `waiting`: why. */
  readonly error?: Error
  /** While `waiting`: milliseconds until the next try. */
  readonly retryIn?: number
}

/** The least number of milliseconds between two reports of the same state. */
const Interval = 100

/** Tells somebody, not too often, how it goes. */
export class ProgressReporter {
  readonly #tell: ((progress: UploadProgress) => void) | undefined
  readonly #meter: RateMeter
  readonly #now: () => number
  #lastState: UploadState | undefined
  #lastTime = Number.NEGATIVE_INFINITY

  constructor(tell: ((progress: UploadProgress) => void) | undefined, meter: RateMeter, now: () => number) {
    this.#tell = tell
    this.#meter = meter
    this.#now = now
  }

  report(progress: Omit<UploadProgress, 'rate' | 'timeLeft'>): void {
    if (!this.#tell) return
    const now = this.#now()
    if (progress.state === this.#lastState && now - this.#lastTime < Interval) return
    this.#lastState = progress.state
    this.#lastTime = now
    const rate = this.#meter.rate()
    const left = progress.total - progress.sent
    this.#tell({ ...progress, rate, timeLeft: left === 0 ? 0 : left / rate })
  }
}

/** Milliseconds over which the rate is taken: long enough to be read, short enough to tell of a change. */
const Window = 10_000

interface Sample {
  readonly at: number
  readonly bytes: number
}

/** How fast bytes go out, over the last seconds. */
export class RateMeter {
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

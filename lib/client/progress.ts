import type { Meter } from './meter.ts'

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
export interface Progress {
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
export class Reporter {
  readonly #tell: ((progress: Progress) => void) | undefined
  readonly #meter: Meter
  readonly #now: () => number
  #lastState: UploadState | undefined
  #lastTime = Number.NEGATIVE_INFINITY

  constructor(tell: ((progress: Progress) => void) | undefined, meter: Meter, now: () => number) {
    this.#tell = tell
    this.#meter = meter
    this.#now = now
  }

  report(progress: Omit<Progress, 'rate' | 'timeLeft'>): void {
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

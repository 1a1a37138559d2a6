/**
 * The step that an upload is in: the packet in flight, `reply` while the reply is downloaded, `waiting` before the next
 * attempt, or `done`.
 */
export type UploadState =
  | 'create-session'
  | 'ping'
  | 'fragment'
  | 'reply'
  | 'close-session'
  | 'waiting'
  | 'done'

/** The progress of an upload. */
export interface UploadProgress {
  /** The packet in flight; `waiting` before the next attempt. */
  readonly state: UploadState
  /** Bytes that the server holds, as of its last Ack. */
  readonly held: number
  /** Bytes that are held or in flight. Decreases after a connection has failed. */
  readonly sent: number
  /** Bytes of the file. */
  readonly total: number
  /** Bytes per second, over the last ten seconds. */
  readonly rate: number
  /** Seconds that the remaining bytes take at this rate; `Infinity` if the rate is 0. */
  readonly timeLeft: number
  /** Bytes of the reply that have been received. */
  readonly replyReceived: number
  /** While `waiting`: the error of the last attempt. */
  readonly error?: Error
  /** While `waiting`: milliseconds until the next attempt. */
  readonly retryIn?: number
}

/** The server's reply to an upload. */
export interface UploadReply {
  /** The URL that the reply was downloaded from. */
  readonly url: string
  /** Bytes of the reply. */
  readonly size: number
  /** The reply itself, if the option `reply` names no other destination. */
  readonly data?: Buffer
}

/** The result of an upload. */
export interface UploadResult {
  /** The complete URL of the uploaded file. */
  readonly url: string
  /** Bytes of the file. */
  readonly size: number
  /** The id that the server gave the session. */
  readonly sessionId: string
  /** Fragments that this call sent and the server acknowledged. */
  readonly fragments: number
  /** Absent if the server had no reply, or the option `reply` is `false`. */
  readonly reply?: UploadReply
}

/** Minimum milliseconds between two reports of the same state. */
const ReportIntervalMs = 100

/** Calls `onProgress` at each change of state, and at most ten times a second in between. */
export class ProgressReporter {
  readonly #onProgress: ((progress: UploadProgress) => void) | undefined
  readonly #meter: RateMeter
  readonly #now: () => number
  #lastState: UploadState | undefined
  #lastTime = Number.NEGATIVE_INFINITY

  constructor(
    onProgress: ((progress: UploadProgress) => void) | undefined,
    meter: RateMeter,
    now: () => number,
  ) {
    this.#onProgress = onProgress
    this.#meter = meter
    this.#now = now
  }

  report(progress: Omit<UploadProgress, 'rate' | 'timeLeft'>): void {
    if (!this.#onProgress) return
    const now = this.#now()
    if (progress.state === this.#lastState && now - this.#lastTime < ReportIntervalMs) return
    this.#lastState = progress.state
    this.#lastTime = now
    const rate = this.#meter.rate()
    const remaining = progress.total - progress.sent
    this.#onProgress({ ...progress, rate, timeLeft: remaining === 0 ? 0 : remaining / rate })
  }
}

/**
 * Milliseconds over which the rate is averaged: long enough to be readable, short enough to show a change.
 */
const RateWindowMs = 10_000

interface RateSample {
  readonly time: number
  readonly bytes: number
}

/** Measures the transfer rate of the last seconds. */
export class RateMeter {
  readonly #now: () => number
  #bytes = 0
  #samples: RateSample[]

  constructor(now: () => number) {
    this.#now = now
    this.#samples = [{ time: now(), bytes: 0 }]
  }

  add(bytes: number): void {
    this.#bytes += bytes
  }

  /** Bytes per second. Each call adds a sample, so the samples are as dense as the calls. */
  rate(): number {
    const time = this.#now()
    // The first sample stays until the second one is outside the window, too.
    while (time - (this.#samples[1]?.time ?? time) >= RateWindowMs) this.#samples.shift()
    const [oldest] = this.#samples
    if (this.#samples.at(-1)?.time !== time) this.#samples.push({ time, bytes: this.#bytes })
    if (!oldest || time <= oldest.time) return 0
    return ((this.#bytes - oldest.bytes) / (time - oldest.time)) * 1000
  }
}

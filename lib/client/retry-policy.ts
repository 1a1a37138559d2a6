import type { Clock } from './clock.ts'
import { UploadError } from './errors.ts'
import type { RetryableError } from './response-policy.ts'

export interface RetrySettings {
  /** Milliseconds. */
  readonly retryDelay: number
  /** Milliseconds. */
  readonly maxRetryDelay: number
  /** Milliseconds; 0: no second try. */
  readonly noProgressTimeout: number
}

/**
 * How long to wait before the next try, and when to give up. Delays double from `retryDelay` to `maxRetryDelay`, and of
 * each a random share is waited, all of it at most, so that clients that failed together do not come back together.
 */
export class RetryPolicy {
  readonly #settings: RetrySettings
  readonly #clock: Pick<Clock, 'now' | 'random'>
  #failures = 0
  #failingSince: number | undefined
  #freeRetryUsed = false

  constructor(settings: RetrySettings, clock: Pick<Clock, 'now' | 'random'>) {
    this.#settings = settings
    this.#clock = clock
  }

  /** It got on: the next failure is a first one. */
  reset(): void {
    this.#failures = 0
    this.#failingSince = undefined
    this.#freeRetryUsed = false
  }

  /**
   * It failed.
   * @param isFree it was nobody's fault: the first such failure costs no time
   * @returns milliseconds to wait; undefined when there was no progress for too long
   */
  nextDelay(isFree = false): number | undefined {
    if (isFree && !this.#freeRetryUsed) {
      this.#freeRetryUsed = true
      return 0
    }
    const { noProgressTimeout } = this.#settings
    const now = this.#clock.now()
    this.#failingSince ??= now
    const left = this.#failingSince + noProgressTimeout - now
    if (left <= 0) return undefined
    this.#failures += 1
    return Math.min(this.delay(this.#failures), left)
  }

  /** Milliseconds to wait after so many times, 1 or more. */
  delay(times: number): number {
    const { retryDelay, maxRetryDelay } = this.#settings
    return this.#clock.random() * Math.min(maxRetryDelay, retryDelay * 2 ** (times - 1))
  }
}

/** So often in a row the same offset, or an answer that is wrong, and it is no use. */
const MaxRepeats = 5
/** So many steps back without a new byte: a server that jumps back and forth would keep us busy for ever. */
const MaxRewinds = 20
/** So many sessions forgotten without a new byte. */
const MaxSessionRestarts = 5

/**
 * Sees to it that no server keeps an upload busy for ever. There are only so many new bytes in a file, and between two of
 * them every kind of turn that does not advance is counted. (Failures are bounded by time, see backoff.ts.)
 */
export class ProgressGuard {
  /** The most bytes that were ever held. */
  #best = -1
  #offset: number | undefined
  #sameOffset = 0
  #stepsBack = 0
  #restarts = 0
  #wrongAnswers = 0

  /**
   * A fragment from `start` on was sent, and the server wants `offset` next.
   * @returns how often in a row it did not advance; 0 if it did
   * @throws {UploadError} `stuck`
   */
  onAck(start: number, offset: number): number {
    this.#wrongAnswers = 0
    this.#sameOffset = offset === this.#offset ? this.#sameOffset + 1 : 1
    this.#offset = offset
    if (offset > this.#best) {
      this.#best = offset
      this.#stepsBack = 0
      this.#restarts = 0
    } else if (offset <= start) {
      this.#stepsBack += 1
    }
    if (this.#sameOffset >= MaxRepeats) {
      throw new UploadError('stuck', `It wanted byte ${offset} ${MaxRepeats} times in a row.`)
    }
    if (this.#stepsBack > MaxRewinds) {
      throw new UploadError(
        'stuck',
        `It went back ${MaxRewinds} times, and never got beyond byte ${this.#best}.`,
      )
    }
    return offset > start ? 0 : this.#stepsBack
  }

  /**
   * The server forgot the session.
   * @returns how often it did since there was last a new byte
   * @throws {UploadError} `session-lost`
   */
  onSessionLost(error: RetryableError): number {
    this.#offset = undefined
    this.#restarts += 1
    if (this.#restarts > MaxSessionRestarts) throw error.toUploadError('session-lost')
    return this.#restarts
  }

  /** @throws {UploadError} `invalid-answer` */
  onMalformedAnswer(error: RetryableError): void {
    this.#wrongAnswers += 1
    if (this.#wrongAnswers >= MaxRepeats) throw error.toUploadError('invalid-answer')
  }
}

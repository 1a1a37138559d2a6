import type { Clock } from './clock.ts'
import { UploadError } from './errors.ts'
import type { RetryableError } from './response-policy.ts'

export interface RetrySettings {
  /** Milliseconds. */
  readonly retryDelay: number
  /** Milliseconds. */
  readonly maxRetryDelay: number
  /** Milliseconds; 0: no second attempt. */
  readonly noProgressTimeout: number
}

/**
 * Decides how long to wait before the next attempt, and when to stop. Delays double from `retryDelay` to
 * `maxRetryDelay`. Each is multiplied by a random number from 0 to 1, so that clients that failed together do
 * not retry together.
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

  /** Starts again after progress: the next failure counts as the first. */
  reset(): void {
    this.#failures = 0
    this.#failingSince = undefined
    this.#freeRetryUsed = false
  }

  /**
   * Counts a failure.
   * @param isFree the failure says nothing about the server; the first one since the last progress is retried
   *   at once
   * @returns milliseconds to wait; undefined after `noProgressTimeout` without progress
   */
  nextDelay(isFree = false): number | undefined {
    if (isFree && !this.#freeRetryUsed) {
      this.#freeRetryUsed = true
      return 0
    }
    const { noProgressTimeout } = this.#settings
    const now = this.#clock.now()
    this.#failingSince ??= now
    const remaining = this.#failingSince + noProgressTimeout - now
    if (remaining <= 0) return undefined
    this.#failures += 1
    return Math.min(this.delay(this.#failures), remaining)
  }

  /** Milliseconds to wait after the given number of failures, 1 or more. */
  delay(failures: number): number {
    const { retryDelay, maxRetryDelay } = this.#settings
    return this.#clock.random() * Math.min(maxRetryDelay, retryDelay * 2 ** (failures - 1))
  }
}

/** The same offset, or a malformed response, this many times in a row ends the upload. */
const MaxRepeats = 5
/** Steps back without a new byte. Without a limit, a server could alternate between two offsets forever. */
const MaxRewinds = 20
/** Lost sessions without a new byte. */
const MaxSessionRestarts = 5

/**
 * Guarantees that every upload ends, whatever the server answers. The number of new bytes is bounded by the
 * file, and between two new bytes each kind of response without an advance is counted. ({@link RetryPolicy}
 * bounds failures by time.)
 */
export class ProgressGuard {
  /** The largest offset so far. */
  #maxOffset = -1
  #offset: number | undefined
  #sameOffset = 0
  #rewinds = 0
  #restarts = 0
  #malformedAnswers = 0

  /**
   * Counts the Ack for a fragment that began at `start`; the server expects `offset` next.
   * @returns the number of steps back since the last new byte; 0 if this Ack advances
   * @throws {UploadError} `stuck`
   */
  onAck(start: number, offset: number): number {
    this.#malformedAnswers = 0
    this.#sameOffset = offset === this.#offset ? this.#sameOffset + 1 : 1
    this.#offset = offset
    if (offset > this.#maxOffset) {
      this.#maxOffset = offset
      this.#rewinds = 0
      this.#restarts = 0
    } else if (offset <= start) {
      this.#rewinds += 1
    }
    if (this.#sameOffset >= MaxRepeats) {
      throw new UploadError('stuck', `It expected byte ${offset} ${MaxRepeats} times in a row.`)
    }
    if (this.#rewinds > MaxRewinds) {
      throw new UploadError(
        'stuck',
        `It went back ${MaxRewinds} times without a byte beyond ${this.#maxOffset}.`,
      )
    }
    return offset > start ? 0 : this.#rewinds
  }

  /**
   * Counts a lost session.
   * @returns the number of lost sessions since the last new byte
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
    this.#malformedAnswers += 1
    if (this.#malformedAnswers >= MaxRepeats) throw error.toUploadError('invalid-answer')
  }
}

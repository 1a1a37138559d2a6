import type { Clock } from './clock.ts'
import { UploadError } from './errors.ts'
import type { RetryableError, RetryableErrorDetails } from './response-policy.ts'

export interface RetrySettings {
  /** Milliseconds. */
  readonly retryDelay: number
  /** Milliseconds. */
  readonly maxRetryDelay: number
  /** Milliseconds; 0: no second attempt. */
  readonly noProgressTimeout: number
}

type FailureDetails = Pick<RetryableErrorDetails, 'stale' | 'waited'>

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
  /** Bytes of the reply that were received since they last counted as progress. */
  #replyBytes = 0

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

  /** Counts bytes of the reply. */
  onReplyBytes(bytes: number): void {
    this.#replyBytes += bytes
    if (this.#replyBytes < ReplyProgressBytes) return
    this.#replyBytes = 0
    this.reset()
  }

  /**
   * Counts a failure. The first one since the last progress is retried at once if it is `stale`, because it
   * says nothing about the server. A timeout counts from its start: the time without progress began there.
   * @returns milliseconds to wait; undefined after `noProgressTimeout` without progress
   */
  nextDelay({ stale = false, waited = 0 }: FailureDetails = {}): number | undefined {
    if (stale && !this.#freeRetryUsed) {
      this.#freeRetryUsed = true
      return 0
    }
    const { noProgressTimeout } = this.#settings
    const now = this.#clock.now()
    this.#failingSince ??= now - waited
    const remaining = this.#failingSince + noProgressTimeout - now
    if (remaining <= 0) return undefined
    this.#failures += 1
    return Math.min(this.delay(this.#failures), remaining)
  }

  /**
   * Milliseconds that an attempt may last without progress: until `noProgressTimeout` is over, but at least 5
   * seconds or `noProgressTimeout`, so that the last attempt can succeed. Unlimited if `noProgressTimeout` is 0.
   */
  attemptLimit(): number {
    const { noProgressTimeout } = this.#settings
    if (noProgressTimeout === 0) return Number.POSITIVE_INFINITY
    const elapsed = this.#failingSince === undefined ? 0 : this.#clock.now() - this.#failingSince
    return Math.max(noProgressTimeout - elapsed, Math.min(noProgressTimeout, LastAttemptMs))
  }

  /**
   * Milliseconds to wait before the server is obeyed that went back, or lost the session, the given number of
   * times; not longer than `noProgressTimeout` permits. {@link ProgressGuard} bounds the number.
   */
  correctionDelay(corrections: number): number {
    const now = this.#clock.now()
    this.#failingSince ??= now
    const remaining = this.#failingSince + this.#settings.noProgressTimeout - now
    return Math.min(this.delay(corrections), Math.max(0, remaining))
  }

  /** Milliseconds to wait after the given number of failures, 1 or more. */
  delay(failures: number): number {
    const { retryDelay, maxRetryDelay } = this.#settings
    return this.#clock.random() * Math.min(maxRetryDelay, retryDelay * 2 ** (failures - 1))
  }
}

/**
 * Bytes of a reply that count as progress. Fewer do not, because a server could send one byte per attempt
 * for ever.
 */
const ReplyProgressBytes = 16 * 1024
/** Minimum milliseconds of the last attempt, which begins when `noProgressTimeout` is over. */
const LastAttemptMs = 5_000

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
  /** A 416 without an offset began a new session. */
  #offsetWasUnknown = false

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

  /** @throws {UploadError} `invalid-answer` at the second 416 without an offset */
  onOffsetUnknown(error: RetryableError): void {
    if (this.#offsetWasUnknown) throw error.toUploadError('invalid-answer')
    this.#offsetWasUnknown = true
  }

  /** @throws {UploadError} `invalid-answer` */
  onMalformedAnswer(error: RetryableError): void {
    this.#malformedAnswers += 1
    if (this.#malformedAnswers >= MaxRepeats) throw error.toUploadError('invalid-answer')
  }
}

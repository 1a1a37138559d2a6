import type { Clock } from './clock.ts'

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
export class Patience {
  readonly #settings: RetrySettings
  readonly #clock: Pick<Clock, 'now' | 'random'>
  #failures = 0
  #failingSince: number | undefined
  #excused = false

  constructor(settings: RetrySettings, clock: Pick<Clock, 'now' | 'random'>) {
    this.#settings = settings
    this.#clock = clock
  }

  /** It got on: the next failure is a first one. */
  progressed(): void {
    this.#failures = 0
    this.#failingSince = undefined
    this.#excused = false
  }

  /**
   * It failed.
   * @param excused it was nobody's fault: the first such failure costs no time
   * @returns milliseconds to wait; undefined when there was no progress for too long
   */
  failed(excused = false): number | undefined {
    if (excused && !this.#excused) {
      this.#excused = true
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

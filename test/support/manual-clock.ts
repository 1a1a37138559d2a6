import { setImmediate as turn } from 'node:timers/promises'
import type { DelayOptions, ElapsedClock } from '../../lib/stores/object/lock/heartbeat.ts'

interface Timer {
  readonly due: number
  readonly fire: () => void
}

/**
 * The wall clock at the start, in milliseconds since 1970: far from the monotonic clock, so that a mix-up
 * fails a test.
 */
const WallStart = Date.UTC(2025, 0, 1)

/**
 * A clock that a test advances by hand. It starts at 0. Lockers with the same clock are processes that run at
 * the same time. A locker with its own clock is stopped while that clock is not advanced.
 */
export class ManualClock implements ElapsedClock {
  #now = 0
  /** In start order. */
  readonly #timers = new Set<Timer>()

  monotonic(): number {
    return this.#now
  }

  wall(): number {
    return WallStart + this.#now
  }

  delay(ms: number, { signal }: DelayOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#timers.delete(timer)
        reject(signal?.reason)
      }
      const timer = this.#start(ms, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
      signal?.addEventListener('abort', abort, { once: true })
      if (signal?.aborted) abort()
    })
  }

  timeout(ms: number): AbortSignal {
    const controller = new AbortController()
    this.#start(ms, () => controller.abort(new DOMException('The timeout expired', 'TimeoutError')))
    return controller.signal
  }

  /**
   * Fires the timers that are due within `ms`, in order of time, and runs all promise callbacks after each.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`A clock cannot be advanced by ${ms} ms`)
    const end = this.#now + ms
    await turn()
    for (let timer = this.#next(); timer && timer.due <= end; timer = this.#next()) {
      this.#now = Math.max(this.#now, timer.due)
      this.#timers.delete(timer)
      timer.fire()
      await turn()
    }
    this.#now = Math.max(this.#now, end)
  }

  /** Advances timer by timer until a promise settles. Rejects if that takes longer than `limit` ms. */
  async settle<T>(promise: Promise<T>, limit: number): Promise<T> {
    const end = this.#now + limit
    let isPending = true
    const settled = (): void => {
      isPending = false
    }
    promise.then(settled, settled)
    await this.advance(0)
    while (isPending) {
      const next = this.#next()
      if (!next || next.due > end) throw new Error(`A promise was still pending after ${limit} ms`)
      await this.advance(Math.max(0, next.due - this.#now))
    }
    return promise
  }

  /**
   * Advances the time without firing timers, as after SIGSTOP and SIGCONT. All timers that became due fire at
   * the new time, during the next `advance`.
   */
  jump(ms: number): void {
    this.#now += ms
  }

  #start(ms: number, fire: () => void): Timer {
    const timer = { due: this.#now + ms, fire }
    this.#timers.add(timer)
    return timer
  }

  /** The timer that is due first; if several are due at the same time, the one that was started first. */
  #next(): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) if (!next || timer.due < next.due) next = timer
    return next
  }
}

import { BitsError } from '../protocol/errors.ts'
import type { Lock, LockRequest } from './locker.ts'
import { memoryLocker } from './memory.ts'

/**
 * The locks within a process. Some of them depend on another process: they are on loan to it, or a request of this process
 * waits for it. Of these it is known when that process gave its last sign of life.
 */
export class LocalLocks {
  readonly #locker = memoryLocker()
  /** By lock key: the time of the last sign of life, by the monotonic clock. */
  readonly #lastSigns = new Map<string, number>()
  /** By lock key: the requests that wait and have a timeout. */
  readonly #waiting = new Map<string, Set<AbortController>>()

  tryAcquire(key: string, request?: LockRequest): Lock | undefined {
    return this.#locker.tryAcquireSync(key, request)
  }

  /**
   * @throws {BitsError} `session-busy` if another process, on which the lock depends, gives no sign of life for the
   * `timeout` of the request
   */
  async acquire(key: string, request: LockRequest): Promise<Lock> {
    const lock = this.tryAcquire(key, request)
    if (lock) return lock
    const { timeout = 0, signal, onReleaseRequested } = request
    if (timeout === 0) return this.#locker.acquire(key, request)
    const busy = new AbortController()
    const startedAt = performance.now()
    const check = (): void => {
      const lastSign = this.#lastSigns.get(key)
      if (lastSign === undefined || performance.now() - Math.max(startedAt, lastSign) < timeout) return
      busy.abort(new BitsError('session-busy'))
    }
    const timer = setInterval(check, Math.ceil(timeout / 4))
    const waiting = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, waiting.add(busy))
    try {
      return await this.#locker.acquire(key, {
        signal: signal ? AbortSignal.any([signal, busy.signal]) : busy.signal,
        onReleaseRequested,
      })
    } finally {
      clearInterval(timer)
      waiting.delete(busy)
      if (waiting.size === 0) this.#waiting.delete(key)
    }
  }

  /** Called when a held lock begins to depend on another process, and at each sign of life of that process. */
  onSignOfLife(key: string): void {
    this.#lastSigns.set(key, performance.now())
  }

  /** Called when a held lock no longer depends on another process. */
  endDependency(key: string): void {
    this.#lastSigns.delete(key)
  }

  /** Called when the process that a held lock depends on is silent: all requests that wait for the lock fail. */
  onSilence(key: string): void {
    for (const busy of this.#waiting.get(key) ?? []) busy.abort(new BitsError('session-busy'))
  }
}

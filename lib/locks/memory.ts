import type { Lock, Locker, LockRequest } from './locker.ts'

export interface MemoryLocker extends Locker {
  /** As `tryAcquire`, without a promise, and with the request whose `onReleaseRequested` is called. */
  tryAcquireSync(key: string, request?: LockRequest): Lock | undefined
}

/** A locker for one process. */
export function memoryLocker(): MemoryLocker {
  const locks = new Map<string, LockState>()

  const tryAcquireSync = (key: string, request: LockRequest = {}): Lock | undefined => {
    if (locks.has(key)) return undefined
    const state = new LockState(key, locks, request)
    locks.set(key, state)
    return new LockHandle(state)
  }

  return {
    isRetainable: true,
    tryAcquireSync,
    tryAcquire: async (key) => tryAcquireSync(key),

    async acquire(key, request = {}) {
      const lock = tryAcquireSync(key, request)
      if (lock) return lock
      request.signal?.throwIfAborted()
      return (locks.get(key) as LockState).wait(request)
    },
  }
}

/** A held lock and the requests that wait for it. A class without closures, because there may be thousands. */
class LockState {
  readonly #key: string
  readonly #locks: Map<string, LockState>
  /** The holder's request, until its `onReleaseRequested` was called. */
  #holder: LockRequest | undefined
  #waiting: Set<() => void> | undefined

  constructor(key: string, locks: Map<string, LockState>, holder: LockRequest) {
    this.#key = key
    this.#locks = locks
    this.#holder = holder
  }

  wait(request: LockRequest): Promise<Lock> {
    const { signal } = request
    this.#waiting ??= new Set()
    const waiting = this.#waiting
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        waiting.delete(grant)
        signal?.removeEventListener('abort', abort)
        this.#holder = request
        resolve(new LockHandle(this))
        if (waiting.size > 0) this.#requestRelease()
      }
      const abort = (): void => {
        waiting.delete(grant)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort, { once: true })
      waiting.add(grant)
      this.#requestRelease()
    })
  }

  /** Grants the lock to the request that has waited longest, or frees it. */
  handOver(): void {
    this.#holder = undefined
    const [next] = this.#waiting ?? []
    if (next) next()
    else this.#locks.delete(this.#key)
  }

  #requestRelease(): void {
    const holder = this.#holder
    this.#holder = undefined
    holder?.onReleaseRequested?.()
  }
}

/** One promise for all locks, because all resolve at once. */
const released = Promise.resolve()

class LockHandle implements Lock {
  #state: LockState | undefined

  constructor(state: LockState) {
    this.#state = state
  }

  release(): Promise<void> {
    const state = this.#state
    this.#state = undefined
    state?.handOver()
    return released
  }
}

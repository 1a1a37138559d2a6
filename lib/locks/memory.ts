import { Leavings } from './leavings.ts'
import type { Leaving, Lock, Locker, LockRequest } from './locker.ts'

/** A lock of this process, which always can be left. */
export interface MemoryLock extends Lock {
  leave(leaving: Leaving): void
}

export interface MemoryLocker extends Locker {
  acquire(id: string, request?: LockRequest): Promise<MemoryLock>
  tryAcquire(id: string): Promise<MemoryLock | undefined>
  /** As `tryAcquire`, but without a promise. `request` says how its holder is told. */
  tryAcquireSync(id: string, request?: LockRequest): MemoryLock | undefined
  letGo(): void
  /** Drops what was left with a session, if nobody holds it. */
  forget(id: string): void
}

/** A locker for one process. */
export function memoryLocker(): MemoryLocker {
  const sessions = new Map<string, LockState>()
  const leavings = new Leavings()

  const lockFree = (id: string, request: LockRequest): MemoryLock => {
    const held = new LockState(id, sessions, leavings, request)
    sessions.set(id, held)
    return new LockHandle(held, leavings.take(id))
  }
  const tryAcquireSync = (id: string, request: LockRequest = {}): MemoryLock | undefined =>
    sessions.has(id) ? undefined : lockFree(id, request)

  return {
    tryAcquireSync,
    tryAcquire: async (id) => tryAcquireSync(id),

    async acquire(id, request = {}) {
      const held = sessions.get(id)
      if (!held) return lockFree(id, request)
      request.signal?.throwIfAborted()
      return held.wait(request)
    },

    letGo: () => leavings.dropAll(),
    forget: (id) => leavings.drop(id),
  }
}

/** Somebody who waits gets the lock, with what was left. */
type Waiter = (left: Leaving | undefined) => void

/** A session that is held: classes and no closures, because thousands may be. */
class LockState {
  readonly #id: string
  readonly #sessions: Map<string, LockState>
  readonly #leavings: Leavings
  /** Of the holder, who has not been told that he is wanted. */
  #request: LockRequest | undefined
  #waiting: Set<Waiter> | undefined

  constructor(id: string, sessions: Map<string, LockState>, leavings: Leavings, request: LockRequest) {
    this.#id = id
    this.#sessions = sessions
    this.#leavings = leavings
    this.#request = request
  }

  wait(request: LockRequest): Promise<MemoryLock> {
    const { signal } = request
    this.#waiting ??= new Set()
    const waiting = this.#waiting
    return new Promise((resolve, reject) => {
      const next: Waiter = (left) => {
        waiting.delete(next)
        signal?.removeEventListener('abort', giveUp)
        this.#request = request
        resolve(new LockHandle(this, left))
        if (waiting.size > 0) this.#requestRelease()
      }
      const giveUp = (): void => {
        waiting.delete(next)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      waiting.add(next)
      this.#requestRelease()
    })
  }

  /** The holder ends: the next is who waits longest. */
  handOver(leaving: Leaving | undefined): void {
    this.#request = undefined
    const [next] = this.#waiting ?? []
    if (next) {
      next(leaving)
      return
    }
    this.#sessions.delete(this.#id)
    if (leaving) this.#leavings.put(this.#id, leaving)
  }

  #requestRelease(): void {
    const request = this.#request
    this.#request = undefined
    request?.onReleaseRequested?.()
  }
}

/** One for all: a promise of its own for each lock tells no more. */
const released = Promise.resolve()

class LockHandle implements MemoryLock {
  readonly left: Leaving | undefined
  #held: LockState | undefined

  constructor(held: LockState, left: Leaving | undefined) {
    this.#held = held
    this.left = left
  }

  release(): Promise<void> {
    this.#end(undefined)
    return released
  }

  leave(leaving: Leaving): void {
    this.#end(leaving)
  }

  #end(leaving: Leaving | undefined): void {
    const held = this.#held
    if (!held) return
    this.#held = undefined
    if (this.left !== leaving) this.left?.drop()
    held.handOver(leaving)
  }
}

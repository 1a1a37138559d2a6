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
  take(id: string, request?: LockRequest): MemoryLock | undefined
  letGo(): void
  /** Drops what was left with a session, if nobody holds it. */
  forget(id: string): void
}

/** A locker for one process. */
export function memoryLocker(): MemoryLocker {
  const sessions = new Map<string, Held>()
  const leavings = new Leavings()

  const takeFree = (id: string, request: LockRequest): MemoryLock => {
    const held = new Held(id, sessions, leavings, request)
    sessions.set(id, held)
    return new HeldLock(held, leavings.take(id))
  }
  const take = (id: string, request: LockRequest = {}): MemoryLock | undefined =>
    sessions.has(id) ? undefined : takeFree(id, request)

  return {
    take,
    tryAcquire: async (id) => take(id),

    async acquire(id, request = {}) {
      const held = sessions.get(id)
      if (!held) return takeFree(id, request)
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
class Held {
  readonly #id: string
  readonly #sessions: Map<string, Held>
  readonly #leavings: Leavings
  /** Of the holder, who has not been told that he is wanted. */
  #request: LockRequest | undefined
  #waiting: Set<Waiter> | undefined

  constructor(id: string, sessions: Map<string, Held>, leavings: Leavings, request: LockRequest) {
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
        resolve(new HeldLock(this, left))
        if (waiting.size > 0) this.#tell()
      }
      const giveUp = (): void => {
        waiting.delete(next)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      waiting.add(next)
      this.#tell()
    })
  }

  /** The holder ends: the next is who waits longest. */
  pass(leaving: Leaving | undefined): void {
    this.#request = undefined
    const [next] = this.#waiting ?? []
    if (next) {
      next(leaving)
      return
    }
    this.#sessions.delete(this.#id)
    if (leaving) this.#leavings.put(this.#id, leaving)
  }

  #tell(): void {
    const request = this.#request
    this.#request = undefined
    request?.onWanted?.()
  }
}

/** One for all: a promise of its own for each lock tells no more. */
const released = Promise.resolve()

class HeldLock implements MemoryLock {
  readonly left: Leaving | undefined
  #held: Held | undefined

  constructor(held: Held, left: Leaving | undefined) {
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
    held.pass(leaving)
  }
}

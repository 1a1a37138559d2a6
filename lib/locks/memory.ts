import { Leavings } from './leavings.ts'
import type { Leaving, Lock, Locker, LockRequest } from './locker.ts'

interface Held {
  wanted: (() => void) | undefined
  readonly waiting: Set<(left: Leaving | undefined) => void>
}

/** A lock of this process, which always can be left. */
export interface MemoryLock extends Lock {
  leave(leaving: Leaving): void
}

export interface MemoryLocker extends Locker {
  acquire(id: string, request?: LockRequest): Promise<MemoryLock>
  tryAcquire(id: string): Promise<MemoryLock | undefined>
  letGo(): void
  /** Drops what was left with a session, if nobody holds it. */
  forget(id: string): void
}

/** A locker for one process. */
export function memoryLocker(): MemoryLocker {
  const sessions = new Map<string, Held>()
  const leavings = new Leavings()

  const hold = (id: string, held: Held, left: Leaving | undefined): MemoryLock => {
    let released = false
    const end = (leaving: Leaving | undefined): void => {
      if (released) return
      released = true
      held.wanted = undefined
      if (left !== leaving) left?.drop()
      const [next] = held.waiting
      if (next) {
        next(leaving)
        return
      }
      sessions.delete(id)
      if (leaving) leavings.put(id, leaving)
    }
    return { left, release: async () => end(undefined), leave: end }
  }

  const take = (id: string, request: LockRequest): MemoryLock => {
    const held: Held = { wanted: request.onWanted, waiting: new Set() }
    sessions.set(id, held)
    return hold(id, held, leavings.take(id))
  }

  return {
    async acquire(id, request = {}) {
      const held = sessions.get(id)
      if (!held) return take(id, request)
      const { signal, onWanted } = request
      signal?.throwIfAborted()
      return new Promise<MemoryLock>((resolve, reject) => {
        const next = (left: Leaving | undefined): void => {
          held.waiting.delete(next)
          signal?.removeEventListener('abort', giveUp)
          held.wanted = onWanted
          resolve(hold(id, held, left))
          if (held.waiting.size > 0) tell(held)
        }
        const giveUp = (): void => {
          held.waiting.delete(next)
          reject(signal?.reason)
        }
        signal?.addEventListener('abort', giveUp, { once: true })
        held.waiting.add(next)
        tell(held)
      })
    },

    async tryAcquire(id) {
      return sessions.has(id) ? undefined : take(id, {})
    },

    letGo: () => leavings.dropAll(),
    forget: (id) => leavings.drop(id),
  }
}

function tell(held: Held): void {
  const { wanted } = held
  held.wanted = undefined
  wanted?.()
}

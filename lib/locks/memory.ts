import type { Lock, Locker, LockRequest } from './locker.ts'

interface Held {
  wanted: (() => void) | undefined
  readonly waiting: Set<() => void>
}

/** A locker for one process. */
export function memoryLocker(): Locker {
  const sessions = new Map<string, Held>()

  const hold = (id: string, held: Held): Lock => {
    let released = false
    return {
      async release() {
        if (released) return
        released = true
        held.wanted = undefined
        const [next] = held.waiting
        if (next) next()
        else sessions.delete(id)
      },
    }
  }

  const take = (id: string, request: LockRequest): Lock => {
    const held: Held = { wanted: request.onWanted, waiting: new Set() }
    sessions.set(id, held)
    return hold(id, held)
  }

  return {
    async acquire(id, request = {}) {
      const { signal, onWanted } = request
      signal?.throwIfAborted()
      const held = sessions.get(id)
      if (!held) return take(id, request)
      return new Promise<Lock>((resolve, reject) => {
        const next = (): void => {
          held.waiting.delete(next)
          signal?.removeEventListener('abort', giveUp)
          held.wanted = onWanted
          resolve(hold(id, held))
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
  }
}

function tell(held: Held): void {
  const { wanted } = held
  held.wanted = undefined
  wanted?.()
}

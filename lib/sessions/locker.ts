/** One session, held. */
export interface Lock {
  release(): void
}

/** How a session is asked for. */
export interface LockRequest {
  /** Gives up waiting when aborted; `acquire` then rejects with its reason. */
  readonly signal?: AbortSignal
  /** Called, at most once, when another packet waits for the session: whoever only waits for bytes lets go. */
  readonly onWanted?: () => void
}

/**
 * Sees to it that of each session only one packet is worked on at a time. A client has one request outstanding, so a
 * second one for the same session means that the client has given up on the first ([MC-BUP] 1.3): the newcomer waits,
 * and the holder is told.
 */
export interface Locker {
  /** Resolves when the session is the caller's. Requests are served in the order in which they came. */
  acquire(id: string, request?: LockRequest): Promise<Lock>
  /** The lock, if the session is free at this moment. */
  tryAcquire(id: string): Promise<Lock | undefined>
}

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
      release() {
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

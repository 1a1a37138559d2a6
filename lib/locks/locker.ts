/** One session, held. */
export interface Lock {
  /** Resolves when others may have it. A second call does nothing. */
  release(): Promise<void>
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

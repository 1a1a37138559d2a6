/** A lock of one session that was acquired. */
export interface Lock {
  /** Resolves when others can acquire the lock. A second call does nothing. */
  release(): Promise<void>
}

/** How a lock is acquired. */
export interface LockRequest {
  /** Aborts the wait; `acquire` then rejects with its reason. A locker that does not wait may ignore it. */
  readonly signal?: AbortSignal | undefined
  /**
   * Milliseconds without a sign of life of the process that holds the lock, after which `acquire` rejects with the
   * `BitsError` `session-busy`; a locker that does not wait for other processes may ignore it. Default: 0, no limit.
   */
  readonly timeout?: number
  /** Called at most once, when another request waits for the lock: the holder releases it as soon as it can. */
  readonly onReleaseRequested?: (() => void) | undefined
  /**
   * The session is about to be created, with a new random id, so no other process can know it or hold its lock. A locker
   * may skip the requests that would find that out. Default: false.
   */
  readonly isNew?: boolean
}

/**
 * Locks that let only one packet of a session be processed at a time. A client has one request in flight, so a second one
 * for the same session means that the client gave up the first ([MC-BUP] 1.3): the second request waits, and the holder
 * is asked to release the lock.
 *
 * The middleware may keep a lock for one to two seconds after a packet, see {@link isRetainable}. A store that is shared
 * (`Store.isShared`) needs no locker.
 */
export interface Locker {
  /** Resolves when the caller holds the lock. Requests of one process are served in order. */
  acquire(key: string, request?: LockRequest): Promise<Lock>
  /** The lock, if it is free now, otherwise undefined. */
  tryAcquire(key: string): Promise<Lock | undefined>
  /**
   * Whether a lock may be kept between the packets of its session: the locker calls `onReleaseRequested` without delay
   * when another process waits, so a kept lock costs other processes next to nothing. Default: false.
   */
  readonly isRetainable?: boolean
  /**
   * Six upper-case hexadecimal digits that ids of sessions created in this process begin with, so that others can ask this
   * one for their locks; undefined: any id will do.
   */
  idPrefix?(): Promise<string | undefined>
}

/**
 * The key that a session is locked under. Owner and path are part of it, so that a packet of another owner or path does
 * not disturb the session.
 */
export const lockKey = ({
  id,
  owner,
  path,
}: {
  readonly id: string
  readonly owner?: string | undefined
  readonly path: string
}): string => JSON.stringify([id, owner ?? null, path])

/** The session id in a lock key, and the prefix of the process that created the session (see `newGuid`). */
export function parseLockKey(key: string): { readonly id: string; readonly prefix: string } | undefined {
  const [, id, prefix] = /^\["(\{([0-9A-F]{6})[0-9A-F-]{30}\})"/.exec(key) ?? []
  return id === undefined || prefix === undefined ? undefined : { id, prefix }
}

/** A function that makes the call once, however often it is called itself. */
export function callOnce(call: (() => void) | undefined): () => void {
  let called = false
  return () => {
    if (called) return
    called = true
    call?.()
  }
}

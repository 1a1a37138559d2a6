/** Something left with a session for its next holder, who then need not ask for it again. */
export interface Leaving {
  /** Called once, when nobody will come for it. */
  drop(): void
}

/** One session, held. */
export interface Lock {
  /** Resolves when others may have it. Drops what was left with it. After this, or `leave`, a second call does nothing. */
  release(): Promise<void>
  /** What the holder before left: nobody else can have held the session since. */
  readonly left?: Leaving | undefined
  /**
   * As `release`, but leaves something for the next holder. It is dropped before anybody else can have the session, and
   * when nobody comes for it within seconds. Only lockers have this that can be asked for a lock without delay, for
   * theirs may stay with a process, or node, that does not need it at the moment.
   */
  leave?(leaving: Leaving): void
}

/** How a session is asked for. Its members may be its class's: what is to be passed on is read, not spread. */
export interface LockRequest {
  /** Gives up waiting when aborted; `acquire` then rejects with its reason. Who need not wait may leave it alone. */
  readonly signal?: AbortSignal | undefined
  /** Called, at most once, when another packet waits for the session: whoever only waits for bytes lets go. */
  readonly onReleaseRequested?: () => void
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
  /**
   * Six hexadecimal digits for the ids of sessions that are to begin here, see {@link begin}; undefined: any digits will do.
   * Whoever gets a session by another way can tell by them where it began.
   */
  mark?(): Promise<string | undefined>
  /** As `tryAcquire`, which is called where it is left out, for a session of which nobody else can have heard yet. */
  begin?(id: string): Promise<Lock | undefined>
  /** Drops all that was left with sessions: none of their next packets is expected here. */
  letGo?(): void
}

/**
 * What a session is locked under. Its owner and path are part of it, so that a packet that is another's, or goes
 * elsewhere, does not even disturb.
 */
export const lockKey = ({
  id,
  owner,
  path,
}: {
  id: string
  owner?: string | undefined
  path: string
}): string => JSON.stringify([id, owner ?? null, path])

/** The session that a lock's name is of, by its id and the mark that the id bears, see `newGuid`. */
export function parseLockKey(name: string): { readonly id: string; readonly mark: string } | undefined {
  const [, id, mark] = /^\["(\{([0-9A-F]{6})[0-9A-F-]{30}\})"/.exec(name) ?? []
  return id === undefined || mark === undefined ? undefined : { id, mark }
}

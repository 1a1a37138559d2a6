import type { Session } from '../stores/store.ts'
import { deleteSession, type SessionDependencies } from './context.ts'
import { isEnabled } from './hooks.ts'

/** The result of a sweep. */
export interface SweepResult {
  /** Sessions removed. */
  readonly expired: number
  /** Sessions that remain open. */
  readonly open: number
}

/**
 * Removes the sessions without progress for `expireAfter`, all sessions while uploads are disabled ([MC-BUP] 3.2.4.2), and
 * the newest sessions of an owner above the limit, as the cleaner of IIS does: there are such sessions after the limit was
 * lowered, or if several processes share a store, because between two recounts each counts only the sessions that it created.
 * Sets the quota to the sessions that remain.
 */
export async function sweep<Caller>(deps: SessionDependencies<Caller>): Promise<SweepResult> {
  const { settings } = deps
  const isExpired = ({ updatedAt }: Session): boolean =>
    !isEnabled(settings.enabled) || Date.now() - updatedAt > settings.expireAfter
  let expired = 0
  let failure: unknown
  // A session that cannot be read or removed must not stop the sweep.
  const onError = (error: unknown): void => {
    failure ??= error
  }
  const open = await recountSessions(deps, onError, async (session) => {
    if (!isExpired(session)) return true
    try {
      if (!(await expireSession(deps, session, isExpired))) return true
      expired += 1
      return false
    } catch (error) {
      onError(error)
      return true
    }
  })
  const removed = await enforceOwnerLimit(deps, onError)
  if (failure) throw failure
  return { expired: expired + removed, open: open - removed }
}

/**
 * Counts the sessions of the store and sets the quota to the result: only here are sessions seen that other processes
 * created or ended.
 * @param onUnreadable called with the error of a session that cannot be read, and does not count
 * @param isOpen whether a session counts
 * @returns the number of sessions that count
 */
export async function recountSessions<Caller>(
  { settings, quota }: SessionDependencies<Caller>,
  onUnreadable: (error: unknown) => void,
  isOpen: (session: Session) => Promise<boolean> = async () => true,
): Promise<number> {
  const open: Pick<Session, 'id' | 'owner'>[] = []
  quota.beginRecount()
  try {
    for await (const session of settings.store.list({ onUnreadable })) {
      if (!(await isOpen(session))) continue
      open.push({ id: session.id, ...(session.owner !== undefined && { owner: session.owner }) })
    }
    quota.finishRecount(open)
  } catch (error) {
    quota.abortRecount()
    throw error
  }
  return open.length
}

async function enforceOwnerLimit<Caller>(
  deps: SessionDependencies<Caller>,
  onError: (error: unknown) => void,
): Promise<number> {
  const { quota, settings } = deps
  const { store, maxSessionsPerOwner } = settings
  const sessionsByOwner = new Map<string, Session[]>()
  for await (const session of quota.isOverLimit(maxSessionsPerOwner)
    ? store.list({ onUnreadable: onError })
    : []) {
    const { owner } = session
    if (owner === undefined || quota.countOf(owner) <= maxSessionsPerOwner) continue
    sessionsByOwner.set(owner, [...(sessionsByOwner.get(owner) ?? []), session])
  }
  let removed = 0
  for (const sessions of sessionsByOwner.values()) {
    sessions.sort((a, b) => a.created - b.created)
    for (const session of sessions.slice(maxSessionsPerOwner)) {
      try {
        if (await expireSession(deps, session, () => true)) removed += 1
      } catch (error) {
        onError(error)
      }
    }
  }
  return removed
}

/** Removes a session, unless a packet of its client is being processed. */
async function expireSession<Caller>(
  deps: SessionDependencies<Caller>,
  listed: Session,
  isExpired: (session: Session) => boolean,
): Promise<boolean> {
  const { cache, events } = deps
  const locked = await cache.tryAcquire(listed)
  if (!locked) return false
  try {
    const { session } = locked
    if (!isExpired(session)) return false
    await deleteSession(deps, session)
    events.emitUpload('expired', session)
    return true
  } finally {
    await cache.release(locked)
  }
}

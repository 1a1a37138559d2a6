import type { Session } from '../stores/store.ts'
import { deleteSession, isOutOfSync, type SessionDependencies } from './context.ts'
import { isEnabled } from './hooks.ts'
import { type CountedSession, countedSession, isEmptySession } from './quota.ts'

/** Milliseconds between the two checks of an expired session; a hundredth of `expireAfter` if that is less. */
const RecheckAfterMs = 60_000

/** The result of a sweep. */
export interface SweepResult {
  /** Sessions removed. */
  readonly expired: number
  /** Sessions that remain open. */
  readonly open: number
}

/**
 * Removes the sessions without progress for `expireAfter`, all sessions while uploads are disabled ([MC-BUP] 3.2.4.2), the
 * newest sessions of an owner above the limit, and old empty sessions near the limit of all sessions. Sets the quota to the
 * sessions that remain.
 *
 * A session is removed as expired only if it is expired at two checks, a minute apart, because the clock may be wrong for a
 * moment: after an empty battery or a suspended machine it may be a month ahead until the time is synchronized. Meanwhile
 * only ids are kept in memory. If the middleware is closed during that minute, no expired session is removed.
 * @param serialize runs one listing of the store after the other; the minute is not part of it, so recounts do not wait for it
 * @param keepsProcess whether the process stays alive for that minute
 */
export async function sweep<Caller>(
  deps: SessionDependencies<Caller>,
  serialize: <Result>(run: () => Promise<Result>) => Promise<Result>,
  keepsProcess: boolean,
): Promise<SweepResult> {
  const { closing, quota, settings } = deps
  const { expireAfter } = settings
  const isDisabled = (): boolean => !isEnabled(settings.enabled)
  const isOld = ({ updatedAt }: Session): boolean => Date.now() - updatedAt > expireAfter
  let removed = 0
  let failure: unknown
  // A session that cannot be read or removed must not stop the sweep.
  const onError = (error: unknown): void => {
    failure ??= error
  }
  const expiredIds = new Set<string>()
  await serialize(async () => {
    await recountSessions(deps, onError, async (session) => {
      if (!isDisabled()) {
        if (isOld(session)) expiredIds.add(session.id)
        return true
      }
      try {
        if (!(await expireSession(deps, session, isDisabled))) return true
        removed += 1
        return false
      } catch (error) {
        onError(error)
        return true
      }
    })
    removed += await enforceOwnerLimit(deps, expiredIds, onError)
  })
  if (expiredIds.size > 0) await pause(Math.min(RecheckAfterMs, expireAfter / 100), closing, keepsProcess)
  removed += await expireById(deps, expiredIds, (session) => isDisabled() || isOld(session), onError)
  removed += await expireEmptySessions(deps, onError)
  if (failure) throw failure
  return { expired: removed, open: quota.open }
}

/** Waits until the time has passed or the signal is aborted. */
function pause(ms: number, signal: AbortSignal, keepsProcess: boolean): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    if (!keepsProcess) timer.unref()
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
}

/**
 * Near the limit of all sessions, removes empty sessions that are older than five minutes, the oldest first, until the
 * limit is no longer near: otherwise a client without an owner could block all others for `expireAfter`. They are checked
 * once, because they hold nothing that a wrong clock could lose.
 * @returns the number of sessions removed
 */
export async function expireEmptySessions<Caller>(
  deps: SessionDependencies<Caller>,
  onError: (error: unknown) => void,
): Promise<number> {
  const { quota, settings } = deps
  const isNeeded = (): boolean => quota.isNearLimit(settings.maxSessions)
  return expireById(deps, quota.oldEmptySessions(), isEmptySession, onError, isNeeded)
}

/**
 * Loads sessions, and removes those that are still removable. Stops when the middleware is closed.
 * @param isNeeded whether to continue
 * @returns the number of sessions removed
 */
async function expireById<Caller>(
  deps: SessionDependencies<Caller>,
  ids: Iterable<string>,
  isRemovable: (session: Session) => boolean,
  onError: (error: unknown) => void,
  isNeeded = (): boolean => true,
): Promise<number> {
  const { closing, quota, settings } = deps
  let removed = 0
  for (const id of ids) {
    if (closing.aborted || !isNeeded()) break
    try {
      const session = await settings.store.load(id)
      // Another process has removed it, or received its first bytes.
      if (!session) quota.release({ id })
      else if (!isEmptySession(session)) quota.markNonEmpty(session)
      if (session && isRemovable(session) && (await expireSession(deps, session, isRemovable))) removed += 1
    } catch (error) {
      onError(error)
    }
  }
  return removed
}

/**
 * Counts the sessions of the store and sets the quota to the result: only here are sessions seen that other processes
 * created or ended.
 * @param onUnreadable called with the error of a session that cannot be read, and does not count
 * @param isOpen whether a session counts
 */
export async function recountSessions<Caller>(
  { settings, quota }: SessionDependencies<Caller>,
  onUnreadable: (error: unknown) => void,
  isOpen: (session: Session) => Promise<boolean> = async () => true,
): Promise<void> {
  const open: CountedSession[] = []
  quota.beginRecount()
  try {
    for await (const session of settings.store.list({ onUnreadable })) {
      if (await isOpen(session)) open.push(countedSession(session))
    }
    quota.finishRecount(open)
  } catch (error) {
    quota.abortRecount()
    throw error
  }
}

/**
 * Removes the newest sessions of an owner above the limit, as the cleaner of IIS does: there are such sessions after the
 * limit was lowered, or if several processes share a store, because between two recounts each counts only the sessions that
 * it created.
 * @param expiredIds sessions that do not count, because the sweep removes them next
 */
async function enforceOwnerLimit<Caller>(
  deps: SessionDependencies<Caller>,
  expiredIds: ReadonlySet<string>,
  onError: (error: unknown) => void,
): Promise<number> {
  const { quota, settings } = deps
  const { store, maxSessionsPerOwner } = settings
  const sessionsByOwner = new Map<string, Session[]>()
  for await (const session of quota.isOverLimit(maxSessionsPerOwner)
    ? store.list({ onUnreadable: onError })
    : []) {
    const { id, owner } = session
    if (owner === undefined || quota.countOf(owner) <= maxSessionsPerOwner || expiredIds.has(id)) continue
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

/** Removes a session, unless a packet of its client is being processed, or was processed meanwhile by another process. */
async function expireSession<Caller>(
  deps: SessionDependencies<Caller>,
  listed: Session,
  isRemovable: (session: Session) => boolean,
): Promise<boolean> {
  const { cache, events } = deps
  const locked = await cache.tryAcquire(listed)
  if (!locked) return false
  try {
    const { session } = locked
    if (!isRemovable(session)) return false
    await deleteSession(deps, session)
    events.emitUpload('expired', session)
    return true
  } catch (error) {
    if (isOutOfSync(error)) return false
    throw error
  } finally {
    await cache.release(locked)
  }
}

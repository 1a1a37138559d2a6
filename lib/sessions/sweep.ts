import { lockKey } from '../locks/locker.ts'
import type { Session } from '../stores/store.ts'
import { deleteSession, type SessionDependencies } from './context.ts'

/** What a sweep did. */
export interface SweepResult {
  /** Sessions removed. */
  readonly expired: number
  /** Sessions left open. */
  readonly open: number
}

/**
 * Removes the sessions whose clients did not come back, all of them where uploads are disabled ([MC-BUP] 3.2.4.2), and
 * what is above an owner's limit, the newest first, as IIS's cleaner does: that is after the limit was lowered, or where
 * several processes share a store, for each counts what it has begun itself. Counts the rest.
 */
export async function sweep<Caller>(deps: SessionDependencies<Caller>): Promise<SweepResult> {
  const { settings } = deps
  const isExpired = ({ updatedAt }: Session): boolean =>
    !settings.enabled() || Date.now() - updatedAt > settings.expireAfter
  let expired = 0
  let failure: unknown
  const open = await recountSessions(deps, async (session) => {
    if (!isExpired(session)) return true
    try {
      if (!(await expireSession(deps, session, isExpired))) return true
      expired += 1
      return false
    } catch (error) {
      // One that cannot be removed must not keep the others.
      failure ??= error
      return true
    }
  })
  if (failure) throw failure
  const trimmed = await enforceOwnerLimit(deps)
  return { expired: expired + trimmed, open: open - trimmed }
}

/**
 * Counts the sessions of the store, and takes the count over: what other processes that share the store have begun and
 * ended is seen here only.
 * @param isOpen whether a session is to be counted
 * @returns how many are
 */
export async function recountSessions<Caller>(
  { settings, quota }: SessionDependencies<Caller>,
  isOpen: (session: Session) => Promise<boolean> = async () => true,
): Promise<number> {
  const open: Pick<Session, 'id' | 'owner'>[] = []
  quota.beginRecount()
  try {
    for await (const session of settings.store.list()) {
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

async function enforceOwnerLimit<Caller>(deps: SessionDependencies<Caller>): Promise<number> {
  const { quota } = deps
  const { store, maxSessionsPerOwner } = deps.settings
  const over = new Map<string, Session[]>()
  for await (const session of quota.isOverLimit(maxSessionsPerOwner) ? store.list() : []) {
    const { owner } = session
    if (owner === undefined || quota.countOf(owner) <= maxSessionsPerOwner) continue
    over.set(owner, [...(over.get(owner) ?? []), session])
  }
  let trimmed = 0
  for (const sessions of over.values()) {
    sessions.sort((a, b) => a.created - b.created)
    for (const session of sessions.slice(maxSessionsPerOwner)) {
      if (await expireSession(deps, session, () => true)) trimmed += 1
    }
  }
  return trimmed
}

/** Removes a session, unless a packet of its client is being worked on, or just was. */
async function expireSession<Caller>(
  deps: SessionDependencies<Caller>,
  listed: Session,
  isExpired: (session: Session) => boolean,
): Promise<boolean> {
  const lock = await deps.locker.tryAcquire(lockKey(listed))
  if (!lock) return false
  try {
    const session = await deps.settings.store.load(listed.id)
    if (!session || !isExpired(session)) return false
    await deleteSession(deps, session)
    deps.events.emitUpload('expired', session)
    return true
  } finally {
    await lock.release()
  }
}

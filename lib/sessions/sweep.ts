import { lockName } from '../locks/name.ts'
import type { Session } from '../stores/store.ts'
import { type Core, forget } from './core.ts'

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
export async function sweep<Caller>(core: Core<Caller>): Promise<SweepResult> {
  const { settings } = core
  const isOver = ({ progressed }: Session): boolean =>
    !settings.enabled() || Date.now() - progressed > settings.expireAfter
  let expired = 0
  let failure: unknown
  const open = await count(core, async (session) => {
    if (!isOver(session)) return true
    try {
      if (!(await expire(core, session, isOver))) return true
      expired += 1
      return false
    } catch (error) {
      // One that cannot be removed must not keep the others.
      failure ??= error
      return true
    }
  })
  if (failure) throw failure
  const trimmed = await trim(core)
  return { expired: expired + trimmed, open: open - trimmed }
}

/**
 * Counts the sessions of the store, and takes the count over: what other processes that share the store have begun and
 * ended is seen here only.
 * @param isOpen whether a session is to be counted
 * @returns how many are
 */
export async function count<Caller>(
  { settings, census }: Core<Caller>,
  isOpen: (session: Session) => Promise<boolean> = async () => true,
): Promise<number> {
  const open: Pick<Session, 'id' | 'owner'>[] = []
  census.beginCount()
  try {
    for await (const session of settings.store.list()) {
      if (!(await isOpen(session))) continue
      open.push({ id: session.id, ...(session.owner !== undefined && { owner: session.owner }) })
    }
    census.endCount(open)
  } catch (error) {
    census.cancelCount()
    throw error
  }
  return open.length
}

async function trim<Caller>(core: Core<Caller>): Promise<number> {
  const { census } = core
  const { store, maxSessionsPerOwner } = core.settings
  const over = new Map<string, Session[]>()
  for await (const session of census.exceeds(maxSessionsPerOwner) ? store.list() : []) {
    const { owner } = session
    if (owner === undefined || census.of(owner) <= maxSessionsPerOwner) continue
    over.set(owner, [...(over.get(owner) ?? []), session])
  }
  let trimmed = 0
  for (const sessions of over.values()) {
    sessions.sort((a, b) => a.created - b.created)
    for (const session of sessions.slice(maxSessionsPerOwner)) {
      if (await expire(core, session, () => true)) trimmed += 1
    }
  }
  return trimmed
}

/** Removes a session, unless a packet of its client is being worked on, or just was. */
async function expire<Caller>(
  core: Core<Caller>,
  listed: Session,
  isOver: (session: Session) => boolean,
): Promise<boolean> {
  const lock = await core.locker.tryAcquire(lockName(listed))
  if (!lock) return false
  try {
    const session = await core.settings.store.load(listed.id)
    if (!session || !isOver(session)) return false
    await forget(core, session)
    core.reports.tellOf('expired', session)
    return true
  } finally {
    await lock.release()
  }
}

import type { Locker } from '../locks/locker.ts'
import { BitsError } from '../protocol/errors.ts'
import { readGuid } from '../protocol/guid.ts'
import type { Session } from '../stores/store.ts'
import type { Census } from './census.ts'
import type { Reports } from './reports.ts'
import type { SessionSettings } from './settings.ts'

/** What the five packets share. */
export interface Core<Caller> {
  readonly settings: SessionSettings<Caller>
  readonly locker: Locker
  readonly census: Census
  /** Counts the store's sessions anew for the census, unless that was done just now. Tells whether it was done. */
  recount(): Promise<boolean>
  readonly reports: Reports
}

/** Who sent a packet, and for which destination. */
export interface Client<Caller> {
  /** The request as the hooks are to see it. */
  readonly caller: Caller
  readonly owner: string | undefined
  /** Decoded path of the destination, with the mount path: it ties packets to their session. */
  readonly path: string
  /** The whole URL of the destination, as the client wrote it. */
  readonly url: string
  /** Aborted when nobody waits for the Ack any more, with the reason. */
  readonly signal: AbortSignal
}

/**
 * Works on a session with its lock held.
 * @param onWanted called when another packet of the same session waits
 * @throws {BitsError} `session-not-found`, the same whether the session never was, or is another's: nobody learns
 * which ids exist
 */
export async function withSession<Caller, T>(
  { settings, locker }: Core<Caller>,
  { owner, path, signal }: Client<Caller>,
  id: string,
  work: (session: Session) => Promise<T>,
  onWanted?: () => void,
): Promise<T> {
  // An id that this server cannot have issued; nor is it to be asked of a store, as part of a path perhaps.
  if (!readGuid(id)) throw new BitsError('session-not-found')
  const lock = await locker.acquire(
    lockName({ id, owner, path }),
    onWanted ? { signal, onWanted } : { signal },
  )
  try {
    const session = await settings.store.load(id, { signal })
    if (!session || session.owner !== owner || session.path !== path) throw new BitsError('session-not-found')
    return await work(session)
  } finally {
    await lock.release()
  }
}

/**
 * What a session is locked under. Its owner and path are part of it, so that a packet that is another's, or goes
 * elsewhere, does not even disturb.
 */
export const lockName = ({
  id,
  owner,
  path,
}: {
  id: string
  owner?: string | undefined
  path: string
}): string => JSON.stringify([id, owner ?? null, path])

/** Forgets a session, in the store and in the count. */
export async function forget<Caller>({ settings, census }: Core<Caller>, session: Session): Promise<void> {
  await settings.store.remove(session)
  census.drop(session)
}

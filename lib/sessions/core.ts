import type { Lock, Locker, LockRequest } from '../locks/locker.ts'
import { lockName } from '../locks/name.ts'
import { BitsError } from '../protocol/errors.ts'
import { readGuid } from '../protocol/guid.ts'
import type { NewSession, Session } from '../stores/store.ts'
import type { Census } from './census.ts'
import { Kept } from './kept.ts'
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

/** What waits for a client's bytes. */
export interface Interruptible {
  /** Makes it end with this error. */
  interrupt(reason: Error): void
}

/** What a packet wants of its session. */
export interface Want {
  /** What is interrupted when another packet of the same session waits. */
  readonly incoming?: Interruptible
  /** Whether the session as the packet before left it will do; else the store is asked. Default: it will. */
  readonly trusts?: (session: Session) => boolean
}

/** How a packet asks for its session: all that is asked for is made only then. */
class Waiting<Caller> implements LockRequest {
  readonly #client: Client<Caller>
  readonly #incoming: Interruptible | undefined

  constructor(client: Client<Caller>, incoming: Interruptible | undefined) {
    this.#client = client
    this.#incoming = incoming
  }

  get signal(): AbortSignal {
    return this.#client.signal
  }

  get onWanted(): () => void {
    return () =>
      this.#incoming?.interrupt(new BitsError('out-of-sync', 'Another packet of the session took over'))
  }
}

/**
 * Takes a session, with its lock, until {@link letGo}.
 * @throws {BitsError} `session-not-found`, the same whether the session never was, or is another's: nobody learns
 * which ids exist
 */
export async function take<Caller>(
  { settings, locker }: Core<Caller>,
  client: Client<Caller>,
  id: string,
  { incoming, trusts }: Want = {},
): Promise<Kept> {
  // An id that this server cannot have issued; nor is it to be asked of a store, as part of a path perhaps.
  if (!readGuid(id)) throw new BitsError('session-not-found')
  const { owner, path } = client
  const lock = await locker.acquire(lockName({ id, owner, path }), new Waiting(client, incoming))
  try {
    const { left } = lock
    const isTrusted = left instanceof Kept && left.isFresh && (trusts?.(left.session) ?? true)
    if (isTrusted) return left.hold(lock)
    const session = await settings.store.load(id, client)
    if (!session || session.owner !== owner || session.path !== path) throw new BitsError('session-not-found')
    return new Kept(settings.store, session).hold(lock)
  } catch (error) {
    await lock.release()
    throw error
  }
}

/**
 * Has a session begin, and keeps it for its first packet, which most often comes at once. Its lock is taken before, when
 * nobody else can want it; without one the next packet asks the store.
 */
export async function begin<Caller>(
  { settings, locker }: Core<Caller>,
  session: NewSession,
  client: Client<Caller>,
): Promise<Session> {
  const { store } = settings
  const name = lockName(session)
  let lock: Lock | undefined
  try {
    if (store.release) lock = await (locker.begin?.(name) ?? locker.tryAcquire(name))
  } catch {
    // It is not kept then.
  }
  try {
    const begun = await store.create(session, client)
    const kept = new Kept(store, begun)
    if (lock) await letGo(kept.hold(lock), begun)
    else kept.drop()
    return begun
  } catch (error) {
    await lock?.release()
    throw error
  }
}

/**
 * Lets a session go.
 * @param session as it is now, for the next packet; left out if there is none any more, or the store is to be asked how it is
 * @returns what is to be waited for before others can have it, if anything
 */
export function letGo(kept: Kept, session?: Session): Promise<void> | undefined {
  const lock = kept.letGo()
  if (!lock) return undefined
  if (session && lock.leave && kept.canStay) {
    kept.session = session
    lock.leave(kept)
    return undefined
  }
  // What was left is dropped with its lock.
  if (kept !== lock.left) kept.drop()
  return lock.release()
}

/** Forgets a session, in the store and in the count. */
export async function forget<Caller>({ settings, census }: Core<Caller>, session: Session): Promise<void> {
  await settings.store.remove(session)
  census.drop(session)
}

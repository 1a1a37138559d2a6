import { type Lock, type Locker, type LockRequest, lockKey } from '../locks/locker.ts'
import { BitsError } from '../protocol/errors.ts'
import { readGuid } from '../protocol/guid.ts'
import type { NewSession, Session } from '../stores/store.ts'
import type { UploadEvents } from './events.ts'
import type { SessionSettings } from './hooks.ts'
import type { SessionQuota } from './quota.ts'
import { Kept } from './session-cache.ts'

/** What the five packets share. */
export interface SessionDependencies<Caller> {
  readonly settings: SessionSettings<Caller>
  readonly locker: Locker
  readonly quota: SessionQuota
  /** Counts the store's sessions anew for the census, unless that was done just now. Tells whether it was done. */
  recount(): Promise<boolean>
  readonly events: UploadEvents
}

/** Who sent a packet, and for which destination. */
export interface PacketContext<Caller> {
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
export interface AcquireOptions {
  /** What is interrupted when another packet of the same session waits. */
  readonly interruptible?: Interruptible
  /** Whether the session as the packet before left it will do; else the store is asked. Default: it will. */
  readonly acceptCached?: (session: Session) => boolean
}

/** How a packet asks for its session: all that is asked for is made only then. */
class SessionLockRequest<Caller> implements LockRequest {
  readonly #context: PacketContext<Caller>
  readonly #interruptible: Interruptible | undefined

  constructor(context: PacketContext<Caller>, interruptible: Interruptible | undefined) {
    this.#context = context
    this.#interruptible = interruptible
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }

  get onReleaseRequested(): () => void {
    return () =>
      this.#interruptible?.interrupt(new BitsError('out-of-sync', 'Another packet of the session took over'))
  }
}

/**
 * Takes a session, with its lock, until {@link releaseSession}.
 * @throws {BitsError} `session-not-found`, the same whether the session never was, or is another's: nobody learns
 * which ids exist
 */
export async function acquireSession<Caller>(
  { settings, locker }: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  id: string,
  { interruptible, acceptCached }: AcquireOptions = {},
): Promise<Kept> {
  // An id that this server cannot have issued; nor is it to be asked of a store, as part of a path perhaps.
  if (!readGuid(id)) throw new BitsError('session-not-found')
  const { owner, path } = context
  const lock = await locker.acquire(
    lockKey({ id, owner, path }),
    new SessionLockRequest(context, interruptible),
  )
  try {
    const { left } = lock
    const isAcceptable = left instanceof Kept && left.isFresh && (acceptCached?.(left.session) ?? true)
    if (isAcceptable) return left.hold(lock)
    const session = await settings.store.load(id, context)
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
export async function createSession<Caller>(
  { settings, locker }: SessionDependencies<Caller>,
  session: NewSession,
  context: PacketContext<Caller>,
): Promise<Session> {
  const { store } = settings
  const name = lockKey(session)
  let lock: Lock | undefined
  try {
    if (store.release) lock = await (locker.begin?.(name) ?? locker.tryAcquire(name))
  } catch {
    // It is not kept then.
  }
  try {
    const created = await store.create(session, context)
    const kept = new Kept(store, created)
    if (lock) await releaseSession(kept.hold(lock), created)
    else kept.drop()
    return created
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
export function releaseSession(kept: Kept, session?: Session): Promise<void> | undefined {
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
export async function deleteSession<Caller>(
  { settings, quota }: SessionDependencies<Caller>,
  session: Session,
): Promise<void> {
  await settings.store.remove(session)
  quota.release(session)
}

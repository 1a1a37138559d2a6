import { type Lock, type Locker, type LockRequest, lockKey } from '../locks/locker.ts'
import { BitsError } from '../protocol/errors.ts'
import { readGuid } from '../protocol/packet.ts'
import type { CreateOptions, NewSession, Session, Store, StoreOptions } from '../stores/store.ts'
import type { TimedStore } from '../stores/timeout.ts'

/** Maximum number of idle sessions in a cache: each may hold open files. */
const MaxCachedSessions = 256
/** Milliseconds without a packet after which a session is evicted; checked this often, so it takes at most twice as long. */
const CacheTtlMs = 1000
/** Milliseconds after which a cached session is loaded again, because an operator may have removed its files. */
const ReloadAfterMs = 1000
/**
 * Both times for a store that is shared: a stale session does no harm there, because the store rejects each change of it, and
 * a load is a request to a service, which costs money.
 */
const SharedCacheTtlMs = 60_000

/** Something that waits for a client's bytes. */
export interface Interruptible {
  /** Ends the wait with this error. */
  interrupt(reason: Error): void
}

/** The session that a packet belongs to, and the packet's signal. */
export interface SessionRequest extends StoreOptions {
  readonly owner: string | undefined
  /** Decoded path of the destination, with the mount path. */
  readonly path: string
}

export interface AcquireOptions {
  /** Interrupted when another packet requests the session. */
  readonly interruptible?: Interruptible
  /** Whether the cached session is good enough; otherwise it is loaded. Default: it is. */
  readonly acceptCached?: (session: Session) => boolean
}

/**
 * A session and its lock: in use by one packet, or idle in the cache. It is also the request for its lock, which reads the
 * packet's signal only if it must wait: an AbortSignal takes most of a kilobyte.
 */
export class LockedSession implements LockRequest {
  readonly id: string
  readonly isNew: boolean
  readonly timeout: number
  readonly onReleaseRequested: () => void
  /** The packet that waits for the lock. */
  request: SessionRequest | undefined
  /** Set when it was loaded or created. */
  session!: Session
  lock: Lock | undefined
  interruptible: Interruptible | undefined
  /** Whether another request waits for the lock. */
  isReleaseRequested = false
  loadedAt = 0
  idleSince = 0

  constructor(
    id: string,
    onReleaseRequested: (locked: LockedSession) => void = () => {},
    { isNew = false, timeout = 0 } = {},
  ) {
    this.id = id
    this.isNew = isNew
    this.timeout = timeout
    this.onReleaseRequested = () => onReleaseRequested(this)
  }

  get signal(): AbortSignal | undefined {
    return this.request?.signal
  }
}

/**
 * Acquires sessions with their locks, and keeps both for one to two seconds after a packet. While the lock is held the
 * cached session is what the store would return, so the next packet asks neither locker nor store: that costs more than
 * to write a fragment of 64 KiB. A session is evicted when another request waits for its lock, and is not cached again after a
 * packet that failed.
 *
 * The sessions of a store that is shared are kept for one to two minutes. Their locks exclude packets of this process only, so
 * another process may have changed a cached session. It is good enough for a change, which the store rejects if the session is
 * stale, but not for an error: see {@link AcquireOptions.acceptCached}.
 */
export class SessionCache {
  readonly #store: Store & Partial<TimedStore>
  readonly #locker: Locker
  readonly #lockTimeout: number
  readonly #isEnabled: boolean
  readonly #ttlMs: number
  readonly #reloadAfterMs: number
  readonly #onError: (error: unknown) => void
  /** By session id; those that were used last come last. */
  readonly #idle = new Map<string, LockedSession>()
  #timer: NodeJS.Timeout | undefined

  /** @param onError called when the lock of an evicted session cannot be released */
  constructor(
    store: Store & Partial<TimedStore>,
    locker: Locker,
    lockTimeout: number,
    onError: (error: unknown) => void,
  ) {
    this.#store = store
    this.#locker = locker
    this.#lockTimeout = lockTimeout
    const { isShared = false } = store
    this.#isEnabled = locker.isRetainable === true && (isShared || store.release !== undefined)
    this.#ttlMs = isShared ? SharedCacheTtlMs : CacheTtlMs
    this.#reloadAfterMs = isShared ? SharedCacheTtlMs : ReloadAfterMs
    this.#onError = onError
  }

  /**
   * Acquires the session of a packet, until {@link release}.
   * @throws {BitsError} `session-not-found`, also for the session of another owner or path, so that no client learns
   * which ids exist
   */
  async acquire(
    id: string,
    request: SessionRequest,
    { interruptible, acceptCached }: AcquireOptions = {},
  ): Promise<LockedSession> {
    const locked = this.#take(id, request)
    if (!locked) return this.#acquireAndLoad(id, request, interruptible)
    locked.interruptible = interruptible
    const { session } = locked
    const isFresh = performance.now() - locked.loadedAt < this.#reloadAfterMs
    if (isFresh && (acceptCached?.(session) ?? true)) return locked
    this.#store.release?.(session)
    return this.#load(locked, request)
  }

  /** The session for a sweep; undefined if it is in use, or removed. */
  async tryAcquire(listed: Session): Promise<LockedSession | undefined> {
    await this.#evict(listed.id)
    const lock = await this.#locker.tryAcquire(lockKey(listed))
    if (!lock) return undefined
    const locked = new LockedSession(listed.id)
    locked.lock = lock
    try {
      const session = await this.#store.load(listed.id)
      if (session) {
        locked.session = session
        return locked
      }
    } catch (error) {
      await lock.release()
      throw error
    }
    await lock.release()
    return undefined
  }

  /** Creates a session, and caches it for its first packet. */
  async create(session: NewSession, options: CreateOptions): Promise<Session> {
    const locked = new LockedSession(session.id, this.#onReleaseRequested, { isNew: true })
    // Without its lock the session is not cached.
    if (this.#isEnabled) {
      locked.lock = await this.#locker.acquire(lockKey(session), locked).catch(() => undefined)
    }
    try {
      locked.session = await this.#store.create(session, options)
      locked.loadedAt = performance.now()
    } catch (error) {
      await locked.lock?.release()
      throw error
    }
    await this.release(locked, locked.lock && locked.session)
    return locked.session
  }

  /**
   * Loads an acquired session again, after another process has changed it.
   * @returns the session; undefined if it was removed
   */
  async reload(locked: LockedSession): Promise<Session | undefined> {
    const session = await this.#store.load(locked.id)
    if (!session) return undefined
    this.#store.release?.(locked.session)
    locked.session = session
    locked.loadedAt = performance.now()
    return session
  }

  /**
   * Ends the use of a session: caches it, or closes it and releases its lock.
   * @param session as it is now; undefined if it was removed, or must be loaded again
   * @returns what the caller must await, if anything
   */
  release(locked: LockedSession, session?: Session): Promise<void> | undefined {
    locked.interruptible = undefined
    if (session) locked.session = session
    if (!session || !this.#isEnabled || locked.isReleaseRequested) return this.#close(locked)
    locked.idleSince = performance.now()
    this.#idle.set(session.id, locked)
    if (this.#idle.size > MaxCachedSessions) this.#evictFirst()
    this.#timer ??= setTimeout(this.#evictExpired, this.#ttlMs).unref()
    return undefined
  }

  /** Evicts all idle sessions. */
  async clear(): Promise<void> {
    await Promise.all([...this.#idle.keys()].map((id) => this.#evict(id)))
  }

  #take(id: string, { owner, path }: SessionRequest): LockedSession | undefined {
    const locked = this.#idle.get(id)
    // A packet of another owner or path does not disturb the session.
    if (!locked || locked.session.owner !== owner || locked.session.path !== path) return undefined
    this.#idle.delete(id)
    return locked
  }

  async #acquireAndLoad(
    id: string,
    request: SessionRequest,
    interruptible: Interruptible | undefined,
  ): Promise<LockedSession> {
    // An id that this server cannot have created; a store may use the id in a path.
    if (!readGuid(id)) throw new BitsError('session-not-found')
    // The wait for its lock may last until a disk works again.
    if (this.#store.settled?.(id)) await this.#store.load(id, request)
    const { owner, path } = request
    const locked = new LockedSession(id, this.#onReleaseRequested, { timeout: this.#lockTimeout })
    locked.interruptible = interruptible
    locked.request = request
    locked.lock = await this.#locker.acquire(lockKey({ id, owner, path }), locked)
    locked.request = undefined
    return this.#load(locked, request)
  }

  async #load(locked: LockedSession, request: SessionRequest): Promise<LockedSession> {
    try {
      const session = await this.#store.load(locked.id, request)
      if (!session || session.owner !== request.owner || session.path !== request.path) {
        throw new BitsError('session-not-found')
      }
      locked.session = session
      locked.loadedAt = performance.now()
      return locked
    } catch (error) {
      await locked.lock?.release()
      throw error
    }
  }

  readonly #onReleaseRequested = (locked: LockedSession): void => {
    locked.isReleaseRequested = true
    if (this.#idle.get(locked.id) === locked) void this.#evict(locked.id)
    else
      locked.interruptible?.interrupt(new BitsError('out-of-sync', 'Another packet of the session took over'))
  }

  #close({ id, session, lock }: LockedSession): Promise<void> | undefined {
    let released: Promise<void> | undefined
    try {
      this.#store.release?.(session)
    } finally {
      const settled = this.#store.settled?.(id)
      // Not awaited: the client gets its Ack, and tries again later.
      if (settled) settled.then(() => lock?.release()).catch(this.#onError)
      else released = lock?.release()
    }
    return released
  }

  async #evict(id: string): Promise<void> {
    const locked = this.#idle.get(id)
    if (!locked) return
    this.#idle.delete(id)
    try {
      await this.#close(locked)
    } catch (error) {
      this.#onError(error)
    }
  }

  #evictFirst(): void {
    for (const id of this.#idle.keys()) return void this.#evict(id)
  }

  readonly #evictExpired = (): void => {
    const before = performance.now() - this.#ttlMs
    for (const [id, { idleSince }] of [...this.#idle]) {
      if (idleSince > before) break
      void this.#evict(id)
    }
    this.#timer = this.#idle.size > 0 ? setTimeout(this.#evictExpired, this.#ttlMs).unref() : undefined
  }
}

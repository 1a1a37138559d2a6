import type { ObjectService, ServiceOptions } from '../service/service.ts'
import { type ElapsedClock, type FailureDetector, NodeLease, type Timing } from './heartbeat.ts'
import {
  allReleaseRequestsPrefix,
  listReleaseRequests,
  locksPrefix,
  nodeKey,
  nodesPrefix,
  type ReleaseRequest,
  releaseRequestsPrefix,
  removeReleaseRequests,
} from './lock-objects.ts'

/** Locks that are checked at a time. */
const GarbageConcurrency = 16

/**
 * This process as a node of the locker: its lease, its locks, and the release requests to it. An idle node
 * sends no requests. Its timers do not keep the process alive; when the process ends, its locks become free
 * after the failure timeout.
 */
export class LockNode {
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  readonly #releaseLock: (request: ReleaseRequest) => Promise<void>
  /** By token: the callback for release requests, or 'pending' while the lock is being written. */
  readonly #locks = new Map<string, 'pending' | (() => void)>()
  #lease: NodeLease | undefined
  /** The first renewal of the lease, which all requests for locks share. */
  #renewing: Promise<void> | undefined
  /** Number of locks that are held or requested. */
  #refs = 0
  /** Ends the heartbeat and the polling. */
  #loops: AbortController | undefined
  /** Cancels the end of the lease of an idle node. */
  #idleTimer: AbortController | undefined

  /** @param releaseLock releases a lock that the node holds without knowing it */
  constructor(
    service: ObjectService,
    timing: Timing,
    clock: ElapsedClock,
    releaseLock: (request: ReleaseRequest) => Promise<void>,
  ) {
    this.#service = service
    this.#timing = timing
    this.#clock = clock
    this.#releaseLock = releaseLock
  }

  /** Called when a lock is requested. */
  retain(): void {
    this.#refs += 1
    this.#idleTimer?.abort()
    if (this.#loops) return
    this.#loops = new AbortController()
    const { signal } = this.#loops
    // A heartbeat is not awaited: one that hangs must not delay the next, and each one must get its place
    // among the requests that wait for a connection.
    void repeat(
      this.#clock,
      this.#timing.heartbeatInterval,
      signal,
      async () => void this.#renewLease().catch(() => {}),
    )
    void repeat(this.#clock, this.#timing.releasePollInterval, signal, () => this.#pollReleaseRequests())
  }

  /** Called once for each {@link retain}, when the lock was released or not acquired. */
  release(): void {
    this.#refs -= 1
    if (this.#refs > 0) return
    this.#idleTimer = new AbortController()
    void this.#stopWhenIdle(this.#idleTimer.signal)
  }

  /** Resolves when other nodes can see the heartbeat, to a valid lease. */
  async ensureLease(): Promise<NodeLease> {
    for (;;) {
      this.#lease ??= new NodeLease(this.#service, this.#timing, this.#clock)
      if (this.#lease.isValid) return this.#lease
      this.#renewing ??= this.#renewLease().finally(() => {
        this.#renewing = undefined
      })
      await this.#renewing
    }
  }

  /** Whether this is the id of the node's current lease. */
  is(id: string): boolean {
    return this.#lease?.id === id
  }

  /**
   * Whether a lock that was acquired under this id is certainly still held, and stays so for the time of a
   * request.
   */
  isSafeToUse(id: string): boolean {
    return this.#lease !== undefined && this.is(id) && this.#lease.isSafeToUse
  }

  /** Whether a request in this process holds the lock or is acquiring it. */
  hasLock(token: string): boolean {
    return this.#locks.has(token)
  }

  /** Registers a lock before it is written, so that it is not released as unknown. */
  markPending(token: string): void {
    this.#locks.set(token, 'pending')
  }

  setHeld(token: string, onReleaseRequested: () => void): void {
    this.#locks.set(token, onReleaseRequested)
  }

  remove(token: string): void {
    this.#locks.delete(token)
  }

  async #renewLease(): Promise<void> {
    const lease = this.#lease
    try {
      await lease?.renew()
    } finally {
      // The node continues under a new id. Other nodes may have taken over its locks, so their holders must
      // stop.
      if (lease?.isExpired && this.#lease === lease) {
        this.#endLease()
        for (const callback of this.#locks.values()) if (callback !== 'pending') callback()
      }
    }
  }

  /** Ends the lease after the idle TTL, unless the signal is aborted before. */
  async #stopWhenIdle(signal: AbortSignal): Promise<void> {
    await this.#clock.delay(this.#timing.idleTtl, { ref: false, signal }).catch(() => {})
    if (signal.aborted) return
    this.#loops?.abort()
    this.#loops = undefined
    this.#endLease()
  }

  /** Removes the heartbeat, which frees all locks of the lease. */
  #endLease(): void {
    const lease = this.#lease
    this.#lease = undefined
    // If this fails, other nodes remove the heartbeat when it has not changed for the failure timeout.
    if (lease) void this.#revoke(lease).catch(() => {})
  }

  async #revoke(lease: NodeLease): Promise<void> {
    await lease.revoke()
    await removeReleaseRequests(this.#service, lease.id, await this.#requestsTo(lease.id))
  }

  async #pollReleaseRequests(): Promise<void> {
    if (!this.#lease) return
    const { id } = this.#lease
    const handled: ReleaseRequest[] = []
    for (const request of await this.#requestsTo(id)) {
      if (await this.#handleRequest(request)) handled.push(request)
    }
    if (handled.length > 0) await removeReleaseRequests(this.#service, id, handled)
  }

  /** @returns whether the request was processed and can be removed */
  async #handleRequest(request: ReleaseRequest): Promise<boolean> {
    const callback = this.#locks.get(request.token)
    // The lock was written, but its response has not arrived yet.
    if (callback === 'pending') return false
    try {
      if (callback) callback()
      else await this.#releaseLock(request)
      return true
    } catch {
      return false
    }
  }

  async #requestsTo(id: string): Promise<ReleaseRequest[]> {
    const requests: ReleaseRequest[] = []
    const signal = this.#clock.timeout(this.#timing.failureTimeout)
    for await (const request of listReleaseRequests(this.#service, id, { signal })) requests.push(request)
    return requests
  }
}

/** Runs work at an interval in milliseconds until the signal is aborted. Failures are ignored. */
async function repeat(
  clock: ElapsedClock,
  interval: number,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await clock
      .delay(interval, { ref: false, signal })
      .then(work)
      .catch(() => {})
  }
}

/**
 * Removes the objects of failed nodes. A live node is not disturbed, even if it was regarded as failed: it
 * continues under a new id.
 *
 * @param releaseAbandoned releases the lock with this hash if it is abandoned
 */
export async function collectGarbage(
  service: ObjectService,
  detector: FailureDetector,
  releaseAbandoned: (hash: string, options: ServiceOptions) => Promise<void>,
  options: ServiceOptions,
): Promise<void> {
  const hashes = await namesBelow(service, locksPrefix, options)
  for (let i = 0; i < hashes.length; i += GarbageConcurrency) {
    await Promise.all(hashes.slice(i, i + GarbageConcurrency).map((hash) => releaseAbandoned(hash, options)))
  }
  const keys: string[] = []
  for await (const node of service.folders(allReleaseRequestsPrefix, options)) {
    if (!(await detector.hasFailed(node))) continue
    for await (const { key } of service.list(releaseRequestsPrefix(node), options)) keys.push(key)
  }
  const nodes = await namesBelow(service, nodesPrefix, options)
  for (const node of nodes) if (await detector.hasFailed(node)) keys.push(nodeKey(node))
  await service.remove(keys, options)
  detector.retain(new Set(nodes))
}

async function namesBelow(
  service: ObjectService,
  prefix: string,
  options: ServiceOptions,
): Promise<string[]> {
  const names: string[] = []
  for await (const { key } of service.list(prefix, options)) {
    // Some consoles of services represent a folder by an empty object.
    if (key !== prefix) names.push(key.slice(prefix.length))
  }
  return names
}

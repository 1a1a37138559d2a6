import type { ObjectService, ServiceOptions } from '../service/service.ts'
import { type ElapsedClock, type FailureDetector, NodeLease, type Timing } from './heartbeat.ts'
import {
  listReleaseRequests,
  locksPrefix,
  nodeKey,
  nodesPrefix,
  type ReleaseRequest,
  removeReleaseRequests,
  requestPrefix,
  requestPrefixes,
} from './lock-objects.ts'

/**
 * What others see of this process while it holds or wants locks: it is alive, and knows what it has. Idle it costs
 * nothing. Its timers keep no process alive: the locks of one that ends are nobody's after a while.
 */
export class LockNode {
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  readonly #releaseLock: (request: ReleaseRequest) => Promise<void>
  /** By nonce: how to tell the holder of a lock that it is wanted, or that it is being asked for. */
  readonly #locks = new Map<string, 'asked' | (() => void)>()
  #lease: NodeLease | undefined
  /** What all wait for who need it to be alive. */
  #renewing: Promise<void> | undefined
  #refs = 0
  /** Ends the rounds that are made while somebody is interested. */
  #loops: AbortController | undefined
  /** Cancels the end of a node that is idle. */
  #idleTimer: AbortController | undefined

  /** @param releaseLock sees to it that the node does not have a lock that it knows nothing of */
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

  /** Somebody holds or wants a lock. */
  retain(): void {
    this.#refs += 1
    this.#idleTimer?.abort()
    if (this.#loops) return
    this.#loops = new AbortController()
    const { signal } = this.#loops
    // One that hangs holds up no other, and none loses its place among requests that wait for a connection.
    void repeat(
      this.#clock,
      this.#timing.heartbeatInterval,
      signal,
      async () => void this.#renewLease().catch(() => {}),
    )
    void repeat(this.#clock, this.#timing.releasePollInterval, signal, () => this.#pollReleaseRequests())
  }

  /** And does so no more. */
  release(): void {
    this.#refs -= 1
    if (this.#refs > 0) return
    this.#idleTimer = new AbortController()
    void this.#stopWhenIdle(this.#idleTimer.signal)
  }

  /** Resolves when others can see that the node lives: to what it has to be called in locks. */
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

  /** Whether it is this node, and no other. */
  is(id: string): boolean {
    return this.#lease?.id === id
  }

  /** Whether a lock that was taken under this id is still the node's for sure, and will be for the time of a request. */
  isSafeToUse(id: string): boolean {
    return this.#lease !== undefined && this.is(id) && this.#lease.isSafeToUse
  }

  /** Whether somebody here has that lock, or is asking for it. */
  hasLock(token: string): boolean {
    return this.#locks.has(token)
  }

  /** A lock is about to be asked for: it is not to be let go for being unknown. */
  markPending(token: string): void {
    this.#locks.set(token, 'asked')
  }

  setHeld(token: string, onRequested: () => void): void {
    this.#locks.set(token, onRequested)
  }

  remove(token: string): void {
    this.#locks.delete(token)
  }

  async #renewLease(): Promise<void> {
    const lease = this.#lease
    try {
      await lease?.renew()
    } finally {
      // It goes on under another id. Whoever holds a lock may not be the only one.
      if (lease?.isExpired && this.#lease === lease) {
        this.#endLease()
        for (const onRequested of this.#locks.values()) if (onRequested !== 'asked') onRequested()
      }
    }
  }

  /** Ends the node after the linger time, unless the signal is aborted before. */
  async #stopWhenIdle(signal: AbortSignal): Promise<void> {
    await this.#clock.delay(this.#timing.idleTtl, { ref: false, signal }).catch(() => {})
    if (signal.aborted) return
    this.#loops?.abort()
    this.#loops = undefined
    this.#endLease()
  }

  /** Ends a life. What bears its id is void as soon as its heartbeat is gone. */
  #endLease(): void {
    const lease = this.#lease
    this.#lease = undefined
    // What fails here is cleared away when others find that the heartbeat stands still.
    if (lease) void this.#revoke(lease).catch(() => {})
  }

  async #revoke(lease: NodeLease): Promise<void> {
    await lease.revoke()
    await removeReleaseRequests(this.#service, lease.id, await this.#requestsOf(lease.id))
  }

  /** Tells those who hold what is wanted. */
  async #pollReleaseRequests(): Promise<void> {
    if (!this.#lease) return
    const { id } = this.#lease
    const handled: ReleaseRequest[] = []
    for (const request of await this.#requestsOf(id))
      if (await this.#handleRequest(request)) handled.push(request)
    if (handled.length > 0) await removeReleaseRequests(this.#service, id, handled)
  }

  /** Whether a want is dealt with. */
  async #handleRequest(request: ReleaseRequest): Promise<boolean> {
    const onRequested = this.#locks.get(request.token)
    try {
      if (onRequested === undefined) await this.#releaseLock(request)
      // Else the lock is there, but the answer is not.
      else if (onRequested !== 'asked') onRequested()
      return onRequested !== 'asked'
    } catch {
      return false
    }
  }

  async #requestsOf(id: string): Promise<ReleaseRequest[]> {
    const requests: ReleaseRequest[] = []
    const signal = this.#clock.timeout(this.#timing.failureTimeout)
    for await (const request of listReleaseRequests(this.#service, id, { signal })) requests.push(request)
    return requests
  }
}

/** Does something every so many milliseconds, well or not. */
async function repeat(
  clock: ElapsedClock,
  every: number,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await clock
      .delay(every, { ref: false, signal })
      .then(work)
      .catch(() => {})
  }
}

/** Locks that are looked at at the same time. */
const GarbageConcurrency = 16

/**
 * Removes what dead nodes left. It disturbs none that lives, not even one that was taken for dead: that one goes on under
 * another id.
 *
 * @param releaseAbandoned lets a lock go that nobody has, given the hash of its name
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
  for await (const node of service.folders(requestPrefixes, options)) {
    if (!(await detector.isDead(node))) continue
    for await (const { key } of service.list(requestPrefix(node), options)) keys.push(key)
  }
  const nodes = await namesBelow(service, nodesPrefix, options)
  for (const node of nodes) if (await detector.isDead(node)) keys.push(nodeKey(node))
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
    // Not the empty object that consoles of services put in the place of a folder.
    if (key !== prefix) names.push(key.slice(prefix.length))
  }
  return names
}

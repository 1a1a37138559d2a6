import { randomUUID } from 'node:crypto'
import type { ObjectService, Precondition, ServiceOptions } from '../service/service.ts'
import type { ElapsedClock, FailureDetector, Timing } from './heartbeat.ts'
import { type LockObject, lockObjectKey, readLock, sendReleaseRequest, writeLock } from './lock-objects.ts'
import type { LockNode } from './node.ts'

/** A lock object of any owner; undefined: there is none, the lock is free. */
type ObservedLock = LockObject | undefined

/**
 * Acquires locks for a node in competition with other nodes, by compare-and-swap. Within the node only one
 * request for a lock runs at a time.
 */
export class LockAcquirer {
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  readonly #node: LockNode
  readonly #detector: FailureDetector

  constructor(
    service: ObjectService,
    timing: Timing,
    clock: ElapsedClock,
    node: LockNode,
    detector: FailureDetector,
  ) {
    this.#service = service
    this.#timing = timing
    this.#clock = clock
    this.#node = node
    this.#detector = detector
  }

  /**
   * Whether a lock object has no holder any more: this node does not know the lock, or the other node has
   * failed.
   */
  async isAbandoned({ node, token }: LockObject): Promise<boolean> {
    return this.#node.is(node) ? !this.#node.hasLock(token) : this.#detector.hasFailed(node)
  }

  /** Acquires a lock that is free or abandoned. */
  async tryAcquire(hash: string): Promise<LockObject | undefined> {
    // The first request finds the owner, which the second one replaces if it has abandoned the lock.
    const current = await this.#tryTake(hash, undefined)
    return this.#ifOwn(current) ?? this.#ifOwn(await this.#tryTake(hash, current))
  }

  /** Acquires a lock as soon as it is free. Sends a release request to each node that holds it until then. */
  async acquire(hash: string, signal: AbortSignal | undefined): Promise<LockObject> {
    const options = signal ? { signal } : {}
    const [firstPause, maxPause] = this.#timing.poll
    let pause = firstPause
    let requestedToken: string | undefined
    let lock = await this.#tryTake(hash, undefined)
    for (;;) {
      const own = this.#ifOwn(lock)
      if (own) return own
      if (lock && lock.token !== requestedToken && !(await this.isAbandoned(lock))) {
        await sendReleaseRequest(this.#service, hash, lock, options)
        requestedToken = lock.token
        pause = firstPause
      }
      await this.#clock.delay(pause, options)
      pause = Math.min(1.5 * pause, maxPause)
      lock = await this.#tryTake(hash, await readLock(this.#service, hash, options))
    }
  }

  /** Removes a lock of this node. */
  async release(hash: string, lock: LockObject): Promise<void> {
    const options = { signal: this.#clock.timeout(this.#timing.failureTimeout / 2) }
    // If the lease is too old, another node may hold the lock by now, and a service without conditional
    // removals would remove that lock. Therefore the lock is written again first, which fails in that case.
    const isSafe = this.#node.isSafeToUse(lock.node)
    const own = isSafe ? lock : this.#ifOwn(await this.#take(hash, { version: lock.version }, options))
    if (!own) return
    try {
      await this.#service.removeIfVersion(lockObjectKey(hash), own.version, options)
    } finally {
      this.#node.remove(own.token)
    }
  }

  /** The lock, if this node holds it and knows it. */
  #ifOwn(lock: ObservedLock): ObservedLock {
    return lock && this.#node.hasLock(lock.token) ? lock : undefined
  }

  /**
   * Takes the lock if it is free or abandoned.
   * @param current the lock object that was just read
   * @returns the lock object afterwards
   */
  async #tryTake(hash: string, current: ObservedLock): Promise<ObservedLock> {
    if (!current) return this.#take(hash, 'absent')
    return (await this.isAbandoned(current)) ? this.#take(hash, { version: current.version }) : current
  }

  /**
   * Writes the lock object if the condition is met.
   * @returns the lock object afterwards
   */
  async #take(hash: string, condition: Precondition, options?: ServiceOptions): Promise<ObservedLock> {
    const lease = await this.#node.ensureLease()
    const token = randomUUID()
    this.#node.markPending(token)
    let lock: ObservedLock
    try {
      lock = await writeLock(this.#service, hash, { node: lease.id, token }, condition, options)
    } finally {
      if (lock?.token !== token) this.#node.remove(token)
    }
    if (lock?.token !== token || lease.isValid) return lock
    // The request took so long that another node may have regarded this one as failed, and its new lock as
    // abandoned.
    this.#node.remove(token)
    return this.#take(hash, { version: lock.version }, options)
  }
}

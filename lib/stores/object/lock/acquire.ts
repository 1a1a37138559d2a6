import { randomUUID } from 'node:crypto'
import type { ObjectService, Precondition, ServiceOptions } from '../service/service.ts'
import type { ElapsedClock, FailureDetector, Timing } from './heartbeat.ts'
import { type LockObject, lockObjectKey, readLock, sendReleaseRequest, writeLock } from './lock-objects.ts'
import type { LockNode } from './node.ts'

/** What stands at the service under a lock's name, whoever wrote it; undefined: nothing, the lock is free. */
type ObservedLock = LockObject | undefined

/** Gets locks for a node against all others; within the node only one asks for a lock at a time. */
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

  /** Whether nobody has it any more. */
  async isAbandoned({ node, token }: LockObject): Promise<boolean> {
    return this.#node.is(node) ? !this.#node.hasLock(token) : this.#detector.isDead(node)
  }

  /** Takes a lock, if that goes at once. */
  async tryAcquire(hash: string): Promise<LockObject | undefined> {
    // To find out who has it.
    const first = await this.#tryTake(hash, undefined)
    return this.#ifOwn(first) ?? this.#ifOwn(await this.#tryTake(hash, first))
  }

  /** Takes a lock as soon as it is free, and tells all who have it until then that it is wanted. */
  async acquire(hash: string, signal: AbortSignal | undefined): Promise<LockObject> {
    const options = signal ? { signal } : {}
    const [shortest, longest] = this.#timing.poll
    let pause = shortest
    let requestedToken: string | undefined
    let lock = await this.#tryTake(hash, undefined)
    for (;;) {
      const own = this.#ifOwn(lock)
      if (own) return own
      if (lock && lock.token !== requestedToken && !(await this.isAbandoned(lock))) {
        await sendReleaseRequest(this.#service, hash, lock, options)
        requestedToken = lock.token
        pause = shortest
      }
      await this.#clock.delay(pause, options)
      pause = Math.min(1.5 * pause, longest)
      lock = await this.#tryTake(hash, await readLock(this.#service, hash, options))
    }
  }

  /** Removes the node's lock. */
  async release(hash: string, lock: LockObject): Promise<void> {
    const options = { signal: this.#clock.timeout(this.#timing.failureTimeout / 2) }
    // In doubt it is taken once more: where another node has it by now, that fails, and it stays the other's. A service
    // without conditional removals would remove it.
    const isSure = this.#node.isSafeToUse(lock.node)
    const last = isSure ? lock : this.#ifOwn(await this.#take(hash, { version: lock.version }, options))
    if (!last) return
    try {
      await this.#service.removeIfVersion(lockObjectKey(hash), last.version, options)
    } finally {
      this.#node.remove(last.token)
    }
  }

  /** What stands there, if it is a lock that the node has, and knows that it has. */
  #ifOwn(lock: ObservedLock): ObservedLock {
    return lock && this.#node.hasLock(lock.token) ? lock : undefined
  }

  /** @param seen what stood there just now */
  async #tryTake(hash: string, seen: ObservedLock): Promise<ObservedLock> {
    if (!seen) return this.#take(hash, 'absent')
    return (await this.isAbandoned(seen)) ? this.#take(hash, { version: seen.version }) : seen
  }

  /** Takes a lock if the condition is met. Resolves to what stands there then. */
  async #take(hash: string, condition: Precondition, options?: ServiceOptions): Promise<ObservedLock> {
    const life = await this.#node.ensureLease()
    const token = randomUUID()
    this.#node.markPending(token)
    let lock: ObservedLock
    try {
      lock = await writeLock(this.#service, hash, { node: life.id, token }, condition, options)
    } finally {
      if (lock?.token !== token) this.#node.remove(token)
    }
    if (lock?.token !== token || life.isValid) return lock
    // It took so long that others may have taken the node for dead, and its new lock for nobody's.
    this.#node.remove(token)
    return this.#take(hash, { version: lock.version }, options)
  }
}

import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { ObjectService } from '../service/service.ts'
import { nodeKey } from './lock-objects.ts'

/**
 * A node under one id, which it has until others may have taken it for dead, and never again. None of its heartbeats has
 * stood still for longer than since the last one that was answered was sent, for that one was seen thereafter.
 */
export class NodeLease {
  readonly id: string = randomUUID()
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  /** When the last heartbeat that was answered was sent. */
  #lastRenewal: Timestamp | undefined
  /** Those that were sent and not answered yet. */
  readonly #pendingRenewals = new Set<Promise<unknown>>()

  constructor(service: ObjectService, timing: Timing, clock: ElapsedClock) {
    this.#service = service
    this.#timing = timing
    this.#clock = clock
  }

  /** Others may have taken it for dead. It stays so. The clocks of two machines do not run quite at the same speed. */
  get isExpired(): boolean {
    return (
      this.#lastRenewal !== undefined &&
      elapsedUpperBound(this.#clock, this.#lastRenewal) >= 0.9 * this.#timing.failureTimeout
    )
  }

  /** Nobody can have taken it for dead so far. */
  get isValid(): boolean {
    return this.#lastRenewal !== undefined && !this.isExpired
  }

  /** Nor will anybody before what is asked of the service now has been done, or was given up. */
  get isSafeToUse(): boolean {
    return (
      this.#lastRenewal !== undefined &&
      elapsedUpperBound(this.#clock, this.#lastRenewal) < this.#timing.failureTimeout / 2
    )
  }

  /** Resolves when others can see that it lives, or that it did too late. */
  async renew(): Promise<void> {
    const begun = now(this.#clock)
    // Something new each time: on S3 the same bytes are the same version.
    const renew = this.#service.put(nodeKey(this.id), [Buffer.from(randomUUID())], {
      signal: this.#clock.timeout(this.#timing.failureTimeout),
    })
    this.#pendingRenewals.add(renew)
    try {
      await renew
      // Answers do not come in the order in which the heartbeats were sent.
      if (this.isExpired) return
      if (!this.#lastRenewal || begun.monotonic > this.#lastRenewal.monotonic) this.#lastRenewal = begun
    } finally {
      this.#pendingRenewals.delete(renew)
    }
  }

  /** Tells others that it is no more. */
  async revoke(): Promise<void> {
    await Promise.allSettled(this.#pendingRenewals)
    await this.#service.remove([nodeKey(this.id)])
  }
}

/** What is known of a node. */
interface NodeStatus {
  /** When it was looked at last, and whether it was found dead then. */
  checkedAt: number
  isDead: Promise<boolean>
  /** Its heartbeat, and since when no other was seen in its place. */
  heartbeat?: { readonly version: string; readonly since: number }
}

/** Finds out which nodes are dead: by this process's clock alone, for no two machines agree on what time it is. */
export class FailureDetector {
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  readonly #nodes = new Map<string, NodeStatus>()

  constructor(service: ObjectService, timing: Timing, clock: ElapsedClock) {
    this.#service = service
    this.#timing = timing
    this.#clock = clock
  }

  /** Whether a node is no more. To be asked again and again: what was seen earlier counts. */
  isDead(node: string): Promise<boolean> {
    const checkedAt = this.#clock.monotonic()
    const known = this.#nodes.get(node)
    // All who wait for locks of one node share their looks at it.
    if (known && checkedAt - known.checkedAt < this.#timing.heartbeatInterval / 2) return known.isDead
    const status: NodeStatus = known ?? { checkedAt, isDead: Promise.resolve(false) }
    status.checkedAt = checkedAt
    status.isDead = this.#check(node, status)
    this.#nodes.set(node, status)
    return status.isDead
  }

  /** Forgets all others. */
  retain(nodes: ReadonlySet<string>): void {
    for (const node of this.#nodes.keys()) if (!nodes.has(node)) this.#nodes.delete(node)
  }

  async #check(node: string, status: NodeStatus): Promise<boolean> {
    const begun = this.#clock.monotonic()
    try {
      const found = await this.#service.get(nodeKey(node))
      if (!found) {
        this.#nodes.delete(node)
        return true
      }
      const { version } = found
      const { heartbeat } = status
      // It stood from when it was seen first, at the latest, until it was asked for last, at least.
      if (version === heartbeat?.version) return begun - heartbeat.since >= this.#timing.failureTimeout
      status.heartbeat = { version, since: this.#clock.monotonic() }
      return false
    } catch (error) {
      // The next one who asks looks again.
      status.checkedAt = Number.NEGATIVE_INFINITY
      throw error
    }
  }
}

export interface DelayOptions {
  /** Rejects the delay when aborted. */
  readonly signal?: AbortSignal
  /** Whether the delay keeps the process alive. Default: true */
  readonly ref?: boolean
}

/** The source of time of a locker. Durations are milliseconds. */
export interface ElapsedClock {
  /** Milliseconds since an arbitrary start; never set back, but may stand still while the machine sleeps. */
  monotonic(): number
  /** Milliseconds since 1970; may be set back. */
  wall(): number
  delay(ms: number, options?: DelayOptions): Promise<void>
  /** A signal that is aborted after `ms`. It does not keep the process alive. */
  timeout(ms: number): AbortSignal
}

export const systemElapsedClock: ElapsedClock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  delay: (ms, options) => delay(ms, undefined, options),
  timeout: (ms) => AbortSignal.timeout(ms),
}

/** A moment of this process, by both of its clocks. */
export interface Timestamp {
  readonly monotonic: number
  readonly wall: number
}

export const now = (clock: ElapsedClock): Timestamp => ({ monotonic: clock.monotonic(), wall: clock.wall() })

/**
 * Upper bound of the milliseconds since a moment: the monotonic clock may stand still while the machine sleeps, and the
 * wall clock may be set back.
 */
export const elapsedUpperBound = (clock: ElapsedClock, { monotonic, wall }: Timestamp): number =>
  Math.max(clock.monotonic() - monotonic, clock.wall() - wall)

/** How long things take between nodes. Milliseconds. */
export interface Timing {
  /** From one heartbeat to the next. */
  readonly heartbeatInterval: number
  /** A heartbeat that another node saw stand still for so long is a dead node's. */
  readonly failureTimeout: number
  /** How long a node that neither holds nor wants a lock stays alive. */
  readonly idleTtl: number
  /** From one look at what others want of a node to the next. */
  readonly releasePollInterval: number
  /** From one look at a lock that is taken to the next: at first, and at last. */
  readonly poll: readonly [first: number, last: number]
}

/**
 * A heartbeat may fail, and the next one, and the one after it may still be in time: nodes are not taken for dead because
 * of a hiccup. The clients of one that is dead come back after a minute by default, so ten seconds are soon enough.
 * To linger spares the packets of one client, which come close behind one another, a heartbeat each; for longer than one
 * beat it would cost more requests than it spares.
 */
export const defaultTiming: Timing = {
  heartbeatInterval: 2000,
  failureTimeout: 10_000,
  idleTtl: 2000,
  releasePollInterval: 1000,
  poll: [100, 1000],
}

/** Leases of nodes, and the detection of failed nodes by their heartbeats. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { ObjectService } from '../service/service.ts'
import { nodeKey } from './lock-objects.ts'

/** Intervals of the lock protocol in milliseconds. */
export interface Timing {
  /** From one heartbeat to the next. */
  readonly heartbeatInterval: number
  /** Another node regards a node as failed when its heartbeat has not changed for this long. */
  readonly failureTimeout: number
  /** A node that holds no lock and waits for none ends its lease after this time. */
  readonly idleTtl: number
  /** From one read of the release requests to a node to the next. */
  readonly releasePollInterval: number
  /** From one read of a lock that another node holds to the next: at first, and at most. */
  readonly poll: readonly [first: number, last: number]
}

/**
 * Failure timeout: two heartbeats in a row may fail and the third is still in time, so that a short
 * disturbance is not regarded as a failure. The clients of a failed node return after a minute by default, so
 * ten seconds are soon enough.
 *
 * Idle TTL: the packets of one client follow each other closely, and share one lease instead of a heartbeat
 * each. More than one heartbeat interval would cost more requests than it saves.
 */
export const defaultTiming: Timing = {
  heartbeatInterval: 2000,
  failureTimeout: 10_000,
  idleTtl: 2000,
  releasePollInterval: 1000,
  poll: [100, 1000],
}

/**
 * The lease of a node: an id and its heartbeat, an object with new content every interval. The id is used
 * until other nodes may have regarded this one as failed, and never again.
 *
 * Another node cannot have seen an unchanged heartbeat for longer than the time since the last answered
 * heartbeat was sent, because it saw that one later.
 */
export class NodeLease {
  readonly id: string = randomUUID()
  readonly #service: ObjectService
  readonly #timing: Timing
  readonly #clock: ElapsedClock
  /** When the last answered heartbeat was sent. */
  #lastRenewal: Timestamp | undefined
  /** Heartbeats without an answer so far. */
  readonly #pendingRenewals = new Set<Promise<unknown>>()

  constructor(service: ObjectService, timing: Timing, clock: ElapsedClock) {
    this.#service = service
    this.#timing = timing
    this.#clock = clock
  }

  /**
   * Whether other nodes may have regarded this one as failed. Once true it stays true. The margin of 10 % is
   * for clocks of two machines that run at different speeds.
   */
  get isExpired(): boolean {
    return this.#lastRenewal !== undefined && this.#sinceRenewal() >= 0.9 * this.#timing.failureTimeout
  }

  /** Whether no other node can have regarded this one as failed yet. */
  get isValid(): boolean {
    return this.#lastRenewal !== undefined && !this.isExpired
  }

  /** Whether the lease stays valid until a request that is sent now has been answered or has timed out. */
  get isSafeToUse(): boolean {
    return this.#lastRenewal !== undefined && this.#sinceRenewal() < this.#timing.failureTimeout / 2
  }

  #sinceRenewal(): number {
    return this.#lastRenewal ? elapsedUpperBound(this.#clock, this.#lastRenewal) : Number.POSITIVE_INFINITY
  }

  /** Sends a heartbeat. When this resolves, other nodes can see it, unless the lease has expired. */
  async renew(): Promise<void> {
    const sentAt = timestampOf(this.#clock)
    // New bytes each time, because on S3 the same bytes are the same version.
    const renewal = this.#service.put(nodeKey(this.id), [Buffer.from(randomUUID())], {
      signal: this.#clock.timeout(this.#timing.failureTimeout),
    })
    this.#pendingRenewals.add(renewal)
    try {
      await renewal
      // Heartbeats may be answered in another order than they were sent.
      if (this.isExpired) return
      if (!this.#lastRenewal || sentAt.monotonic > this.#lastRenewal.monotonic) this.#lastRenewal = sentAt
    } finally {
      this.#pendingRenewals.delete(renewal)
    }
  }

  /** Removes the heartbeat, after all renewals have ended. */
  async revoke(): Promise<void> {
    await Promise.allSettled(this.#pendingRenewals)
    await this.#service.remove([nodeKey(this.id)])
  }
}

/** Detects failed nodes, by the clock of this process only, because the clocks of two machines may differ. */
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

  /**
   * Whether a node has failed or has ended its lease. A failure is detected only by repeated calls, which
   * compare the heartbeats that they see.
   */
  hasFailed(node: string): Promise<boolean> {
    const checkedAt = this.#clock.monotonic()
    const known = this.#nodes.get(node)
    // All requests that wait for locks of one node share a check.
    if (known && checkedAt - known.checkedAt < this.#timing.heartbeatInterval / 2) return known.hasFailed
    const status: NodeStatus = known ?? { checkedAt, hasFailed: Promise.resolve(false) }
    status.checkedAt = checkedAt
    status.hasFailed = this.#check(node, status)
    this.#nodes.set(node, status)
    return status.hasFailed
  }

  /** Forgets all other nodes. */
  retain(nodes: ReadonlySet<string>): void {
    for (const node of this.#nodes.keys()) if (!nodes.has(node)) this.#nodes.delete(node)
  }

  async #check(node: string, status: NodeStatus): Promise<boolean> {
    const sentAt = this.#clock.monotonic()
    try {
      const found = await this.#service.get(nodeKey(node))
      if (!found) {
        this.#nodes.delete(node)
        return true
      }
      const { version } = found
      const { heartbeat } = status
      // The heartbeat was unchanged at least from when it was first seen until this request was sent.
      if (version === heartbeat?.version) return sentAt - heartbeat.since >= this.#timing.failureTimeout
      status.heartbeat = { version, since: this.#clock.monotonic() }
      return false
    } catch (error) {
      // The next call checks again.
      status.checkedAt = Number.NEGATIVE_INFINITY
      throw error
    }
  }
}

interface NodeStatus {
  /** When the last check began, and its result. */
  checkedAt: number
  hasFailed: Promise<boolean>
  /** The last heartbeat, and when it was first seen. */
  heartbeat?: { readonly version: string; readonly since: number }
}

/** The source of time of a locker. Durations are milliseconds. */
export interface ElapsedClock {
  /** Milliseconds since an arbitrary start. Never set back, but may stop while the machine sleeps. */
  monotonic(): number
  /** Milliseconds since 1970. May be set back. */
  wall(): number
  delay(ms: number, options?: DelayOptions): Promise<void>
  /** A signal that is aborted after `ms`. It does not keep the process alive. */
  timeout(ms: number): AbortSignal
}

export interface DelayOptions {
  /** Rejects the delay when aborted. */
  readonly signal?: AbortSignal
  /** Whether the delay keeps the process alive. Default: true */
  readonly ref?: boolean
}

export const systemElapsedClock: ElapsedClock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  delay: (ms, options) => delay(ms, undefined, options),
  timeout: (ms) => AbortSignal.timeout(ms),
}

/** A point in time by both clocks of this process. */
export interface Timestamp {
  readonly monotonic: number
  readonly wall: number
}

export const timestampOf = (clock: ElapsedClock): Timestamp => ({
  monotonic: clock.monotonic(),
  wall: clock.wall(),
})

/**
 * Upper bound of the milliseconds since a timestamp: the larger value of both clocks, because the monotonic
 * clock may stop while the machine sleeps, and the wall clock may be set back.
 */
export const elapsedUpperBound = (clock: ElapsedClock, { monotonic, wall }: Timestamp): number =>
  Math.max(clock.monotonic() - monotonic, clock.wall() - wall)

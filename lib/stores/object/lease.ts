import { setTimeout as sleep } from 'node:timers/promises'
import { BitsError } from '../../protocol/errors.ts'
import type { LeaseTimes, StoreContext } from './context.ts'
import { randomId } from './layout.ts'
import {
  type LeaseState,
  outOfSync,
  type RecordChanges,
  type SessionRecord,
  throwOutOfSync,
} from './record.ts'
import { ConditionFailed } from './service/service.ts'

export const defaultLeaseTimes: LeaseTimes = { renew: 2000, dead: 10_000, poll: 1000 }

/** How a lease is acquired. */
export interface LeaseOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds; 0: no limit. */
  readonly timeout?: number
}

/**
 * The lease of a session, a field of its record: lets one packet at a time run `onUpload`, publish a small file with `overwrite`,
 * or join separate objects. It is renewed until it is released. All changes of the record are conditional, so none of them
 * succeeds after another node has acquired the lease.
 */
export class Lease {
  readonly #record: SessionRecord
  readonly #token: string
  readonly #times: LeaseTimes
  #timer: NodeJS.Timeout | undefined
  #renewedAt: number
  #isReleased = false

  private constructor(record: SessionRecord, token: string, times: LeaseTimes, sentAt: number) {
    this.#record = record
    this.#token = token
    this.#times = times
    this.#renewedAt = sentAt
    this.#scheduleRenewal()
  }

  /**
   * Waits while a living node has the lease.
   * @param changes of the record that are made in the same write
   * @throws {BitsError} `out-of-sync` if another node has changed the session, `session-busy` after the timeout
   */
  static async acquire(
    { leaseTimes }: Pick<StoreContext, 'leaseTimes'>,
    record: SessionRecord,
    changes: RecordChanges,
    options: LeaseOptions = {},
  ): Promise<Lease> {
    const before = progressOf(record)
    const serviceOptions = options.signal ? { signal: options.signal } : {}
    for (;;) {
      if (record.state.lease) await waitForLease(record, leaseTimes, options)
      if (progressOf(record) !== before) throw outOfSync('Another server has updated the session')
      options.signal?.throwIfAborted()
      const sentAt = performance.now()
      const token = randomId()
      try {
        await record.update({ ...changes, lease: { token, renewals: 0 } }, serviceOptions)
        return new Lease(record, token, leaseTimes, sentAt)
      } catch (error) {
        if (!(error instanceof ConditionFailed)) throw error
        await record.reload(serviceOptions)
      }
    }
  }

  /**
   * Renews the lease if that was not done in time, because the process was stopped.
   * @throws {BitsError} `out-of-sync` if it was released, or another node has acquired it
   */
  async confirm(): Promise<void> {
    if (this.#isReleased || this.#record.state.lease?.token !== this.#token) {
      throw outOfSync('The lease of the session was released')
    }
    if (performance.now() - this.#renewedAt > this.#times.dead / 2) await this.#renew().catch(throwOutOfSync)
  }

  /** Stops the renewal, and removes the lease from the record, unless that was done by another update. */
  async release(): Promise<void> {
    this.#isReleased = true
    clearTimeout(this.#timer)
    // If this fails, the next packet waits until the lease is regarded as dead.
    await this.#update(() => ({ lease: undefined })).catch(() => {})
  }

  #scheduleRenewal(): void {
    const renew = async (): Promise<void> => {
      const error: unknown = await this.#renew().catch((reason) => reason)
      // Another node has acquired the lease, so each update of the record fails.
      if (error instanceof ConditionFailed || this.#isReleased) return
      this.#scheduleRenewal()
    }
    this.#timer = setTimeout(renew, this.#times.renew).unref()
  }

  async #renew(): Promise<void> {
    let sentAt = 0
    await this.#update((lease) => {
      sentAt = performance.now()
      return { lease: { ...lease, renewals: lease.renewals + 1 } }
    })
    if (sentAt > 0) this.#renewedAt = sentAt
  }

  /** Updates the record, unless an update before this one has removed the lease. */
  #update(changes: (lease: LeaseState) => RecordChanges): Promise<void> {
    return this.#record.update(({ lease }) => (lease?.token === this.#token ? changes(lease) : undefined))
  }
}

/** All that a packet depends on, without the lease. */
const progressOf = ({ state: { lease: _, ...progress } }: SessionRecord): string => JSON.stringify(progress)

/**
 * Waits until the lease of another node is released, or dead.
 * @throws {BitsError} `out-of-sync` if another node has changed the session, `session-not-found` if it has ended
 */
export async function waitForOtherNode(
  record: SessionRecord,
  times: LeaseTimes,
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = progressOf(record)
  await waitForLease(record, times, { signal })
  if (progressOf(record) !== before) throw outOfSync('Another server has updated the session')
}

/**
 * Waits until the lease of another node is released, or dead.
 * @throws {BitsError} `session-busy` after the timeout, `session-not-found` if the session has ended
 */
async function waitForLease(
  record: SessionRecord,
  times: LeaseTimes,
  { signal, timeout = 0 }: LeaseOptions = {},
): Promise<void> {
  const deadline = timeout > 0 ? performance.now() + timeout : Number.POSITIVE_INFINITY
  await waitWhile(record, times, signal, () => {
    if (performance.now() > deadline) {
      throw new BitsError('session-busy', 'Another server is completing the upload')
    }
    return record.state.lease !== undefined
  })
}

/** Waits until the record has changed, or has been the same for so long that no living node works on it. */
export async function waitForChange(
  record: SessionRecord,
  times: LeaseTimes,
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = record.version
  await waitWhile(record, times, signal, () => record.version === before)
}

/**
 * Reads the record again and again as long as a condition holds, and the record has not been the same for `dead` milliseconds:
 * from the first answer with a version until the last request was sent, by the monotonic clock of this process.
 */
async function waitWhile(
  record: SessionRecord,
  { dead, poll }: LeaseTimes,
  signal: AbortSignal | undefined,
  condition: () => boolean,
): Promise<void> {
  const options = signal ? { signal } : {}
  await record.reload(options)
  for (let since = performance.now(); condition(); ) {
    const sentAt = performance.now()
    const hasChanged = await record.reload(options)
    if (hasChanged) since = performance.now()
    else if (sentAt - since >= dead) return
    await sleep(poll, undefined, { ...options, ref: false })
  }
}

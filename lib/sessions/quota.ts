import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'

export interface QuotaLimits {
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
}

type CountedSession = Pick<Session, 'id' | 'owner'>

/**
 * Limits the open sessions, in total and of each owner. It counts in memory, because counting the sessions of the store for
 * each new one would cost more the more there are. Sessions that other processes create or end are seen at each sweep and recount.
 */
export class SessionQuota {
  #ownerOf = new Map<string, string | undefined>()
  #countByOwner = new Map<string, number>()
  /** Sessions that are being created: a recount may find them in the store, or not. */
  readonly #reserved = new Map<string, CountedSession>()
  /** Changes since the recount began, which it may have found, or not. The value is undefined if the session ended. */
  #changesDuringRecount: Map<string, CountedSession | undefined> | undefined

  /**
   * Counts a session before it is created, so that sessions created at the same time are limited, too.
   * @throws {BitsError} `too-many-sessions`, a 503, so that the client tries again later
   */
  reserve(session: CountedSession, limits: QuotaLimits): void {
    const { owner } = session
    if (this.#ownerOf.size >= limits.maxSessions) throw new BitsError('too-many-sessions')
    if (owner !== undefined && this.countOf(owner) >= limits.maxSessionsPerOwner) {
      throw new BitsError('too-many-sessions', 'Too many uploads of this owner are open')
    }
    this.#reserved.set(session.id, session)
    this.#changesDuringRecount?.set(session.id, session)
    this.#add(session)
  }

  /** Marks the session as created in the store. */
  commit({ id }: Pick<Session, 'id'>): void {
    this.#reserved.delete(id)
  }

  release({ id }: Pick<Session, 'id'>): void {
    this.#reserved.delete(id)
    this.#changesDuringRecount?.set(id, undefined)
    if (!this.#ownerOf.has(id)) return
    const owner = this.#ownerOf.get(id)
    this.#ownerOf.delete(id)
    if (owner === undefined) return
    const remaining = this.countOf(owner) - 1
    if (remaining > 0) this.#countByOwner.set(owner, remaining)
    else this.#countByOwner.delete(owner)
  }

  /** The number of sessions of an owner. */
  countOf(owner: string): number {
    return this.#countByOwner.get(owner) ?? 0
  }

  /** Whether any owner has more sessions than `limit`. */
  isOverLimit(limit: number): boolean {
    for (const count of this.#countByOwner.values()) if (count > limit) return true
    return false
  }

  /** Call before the sessions of the store are counted. */
  beginRecount(): void {
    this.#changesDuringRecount = new Map(this.#reserved)
  }

  /** Sets the counters to the sessions found, and the changes since the recount began. */
  finishRecount(found: Iterable<CountedSession>): void {
    const changes = this.#changesDuringRecount ?? new Map<string, CountedSession | undefined>()
    this.#changesDuringRecount = undefined
    this.#ownerOf = new Map()
    this.#countByOwner = new Map()
    for (const session of found) if (!changes.has(session.id)) this.#add(session)
    for (const session of changes.values()) if (session) this.#add(session)
  }

  abortRecount(): void {
    this.#changesDuringRecount = undefined
  }

  #add({ id, owner }: CountedSession): void {
    this.#ownerOf.set(id, owner)
    if (owner !== undefined) this.#countByOwner.set(owner, this.countOf(owner) + 1)
  }
}

import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'

export interface QuotaLimits {
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
}

type CountedSession = Pick<Session, 'id' | 'owner'>

/**
 * Which sessions are open, in all and of each owner. Kept in memory, because counting a store's sessions for every
 * new one would cost more the more there are; what other processes that share the store do is seen at each sweep.
 */
export class SessionQuota {
  #ownerOf = new Map<string, string | undefined>()
  #countByOwner = new Map<string, number>()
  /** Those that are about to begin: the store may know them, or not. */
  readonly #reserved = new Map<string, CountedSession>()
  /** What came and went since a count of the store began: it may have seen it, or not. */
  #changesDuringRecount: Map<string, CountedSession | undefined> | undefined

  /**
   * Counts a session that is to begin, so that those beginning at the same time see it.
   * @throws {BitsError} `too-many-sessions`, a 503: the client comes again later.
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

  /** The store knows the session from now on. */
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
    const left = this.countOf(owner) - 1
    if (left > 0) this.#countByOwner.set(owner, left)
    else this.#countByOwner.delete(owner)
  }

  /** Sessions of an owner. */
  countOf(owner: string): number {
    return this.#countByOwner.get(owner) ?? 0
  }

  /** Whether any owner has more sessions than `limit`. */
  isOverLimit(limit: number): boolean {
    for (const count of this.#countByOwner.values()) if (count > limit) return true
    return false
  }

  /** Begins a count of the store. */
  beginRecount(): void {
    this.#changesDuringRecount = new Map(this.#reserved)
  }

  /** Takes over what the count found, and what has happened since it began. */
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

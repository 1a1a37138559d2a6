import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'

export interface CensusLimits {
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
}

type Counted = Pick<Session, 'id' | 'owner'>

/**
 * Which sessions are open, in all and of each owner. Kept in memory, because counting a store's sessions for every
 * new one would cost more the more there are; what other processes that share the store do is seen at each sweep.
 */
export class Census {
  #owners = new Map<string, string | undefined>()
  #counts = new Map<string, number>()
  /** Those that are about to begin: the store may know them, or not. */
  readonly #beginning = new Map<string, Counted>()
  /** What came and went since a count of the store began: it may have seen it, or not. */
  #meanwhile: Map<string, Counted | undefined> | undefined

  /**
   * Counts a session that is to begin, so that those beginning at the same time see it.
   * @throws {BitsError} `too-many-sessions`, a 503: the client comes again later.
   */
  admit(session: Counted, limits: CensusLimits): void {
    const { owner } = session
    if (this.#owners.size >= limits.maxSessions) throw new BitsError('too-many-sessions')
    if (owner !== undefined && this.of(owner) >= limits.maxSessionsPerOwner) {
      throw new BitsError('too-many-sessions', 'Too many uploads of this owner are open')
    }
    this.#beginning.set(session.id, session)
    this.#meanwhile?.set(session.id, session)
    this.#add(session)
  }

  /** The store knows the session from now on. */
  begun({ id }: Pick<Session, 'id'>): void {
    this.#beginning.delete(id)
  }

  drop({ id }: Pick<Session, 'id'>): void {
    this.#beginning.delete(id)
    this.#meanwhile?.set(id, undefined)
    if (!this.#owners.has(id)) return
    const owner = this.#owners.get(id)
    this.#owners.delete(id)
    if (owner === undefined) return
    const left = this.of(owner) - 1
    if (left > 0) this.#counts.set(owner, left)
    else this.#counts.delete(owner)
  }

  /** Sessions of an owner. */
  of(owner: string): number {
    return this.#counts.get(owner) ?? 0
  }

  /** Whether any owner has more sessions than `limit`. */
  exceeds(limit: number): boolean {
    for (const count of this.#counts.values()) if (count > limit) return true
    return false
  }

  /** Begins a count of the store. */
  beginCount(): void {
    this.#meanwhile = new Map(this.#beginning)
  }

  /** Takes over what the count found, and what has happened since it began. */
  endCount(found: Iterable<Counted>): void {
    const meanwhile = this.#meanwhile ?? new Map<string, Counted | undefined>()
    this.#meanwhile = undefined
    this.#owners = new Map()
    this.#counts = new Map()
    for (const session of found) if (!meanwhile.has(session.id)) this.#add(session)
    for (const session of meanwhile.values()) if (session) this.#add(session)
  }

  cancelCount(): void {
    this.#meanwhile = undefined
  }

  #add({ id, owner }: Counted): void {
    this.#owners.set(id, owner)
    if (owner !== undefined) this.#counts.set(owner, this.of(owner) + 1)
  }
}

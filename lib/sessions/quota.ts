import { isIPv6 } from 'node:net'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'

/** The share of `maxSessions` from which on empty sessions are limited for each client, and expire early. */
const NearLimitRatio = 0.9
/** The share of `maxSessions` that the empty sessions of one client may be, near the limit. */
const MaxEmptyRatio = 0.01
/** One client may have this many empty sessions even if that is more than `MaxEmptyRatio`. */
const MinEmptySessions = 10
/** Milliseconds after which an empty session expires near the limit. */
const EmptySessionTtlMs = 5 * 60_000
/** Characters of the longest IPv6 address. Behind a trusted proxy the address may be any text of the client. */
const MaxAddressLength = 45

export interface QuotaLimits {
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
}

/** An open session, as the quota counts it. */
export interface CountedSession {
  readonly id: string
  readonly owner?: string | undefined
  /** Set while the session is empty. */
  readonly empty?: EmptySession | undefined
}

/** What the quota knows about an empty session. */
interface EmptySession {
  /** Milliseconds since 1970. */
  readonly created: number
  /** The result of {@link clientKey}. Undefined: created by another process, or before a restart. */
  readonly client: string | undefined
}

/** Whether a session never held a byte: it was created, and had no successful fragment yet. */
export const isEmptySession = ({ state, received, total }: Session): boolean =>
  total === undefined && received === 0 && state === 'receiving'

/** The client that empty sessions are counted for: the owner if there is one, else the address. */
export function clientKey(owner: string | undefined, address?: string): string {
  return owner === undefined ? `address ${networkOf(address ?? 'unknown')}` : `owner ${owner}`
}

/** The first 64 bits of an IPv6 address, because a client can use all addresses that begin with them; other text unchanged. */
function networkOf(address: string): string {
  // A dot: an IPv4 address in the notation of IPv6, `::ffff:10.0.0.5`.
  if (!isIPv6(address) || address.includes('.')) return address.slice(0, MaxAddressLength)
  const missing = 8 - address.split(':').filter(Boolean).length
  const groups = address
    .replace('::', `:${'0:'.repeat(missing)}`)
    .split(':')
    .filter(Boolean)
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** A session that a recount found. The address of its client is not stored. */
export function countedSession(session: Session): CountedSession {
  const { id, owner, created } = session
  if (!isEmptySession(session)) return { id, owner }
  return { id, owner, empty: { created, client: owner === undefined ? undefined : clientKey(owner) } }
}

/**
 * Limits the open sessions: in total, of each owner and, near the limit, the empty ones of each client. It counts in memory,
 * because counting the sessions of the store for each new one would cost more the more there are. Sessions that other
 * processes create or end are seen at each sweep and recount.
 */
export class SessionQuota {
  #ownerOf = new Map<string, string | undefined>()
  #countByOwner = new Counter()
  /** By session id, the oldest first. A part of the sessions in `#ownerOf`. */
  #empty = new Map<string, EmptySession>()
  #emptyByClient = new Counter()
  /** Sessions that are being created: a recount may find them in the store, or not. */
  readonly #reserved = new Map<string, CountedSession>()
  /** Changes since the recount began, which it may have found, or not. The value is undefined if the session ended. */
  #changesDuringRecount: Map<string, CountedSession | undefined> | undefined

  /** The number of open sessions. */
  get open(): number {
    return this.#ownerOf.size
  }

  isNearLimit(maxSessions: number): boolean {
    return this.open >= maxSessions * NearLimitRatio
  }

  /**
   * Counts a session before it is created, so that sessions created at the same time are limited, too.
   * @throws {BitsError} `too-many-sessions`, a 503, so that the client tries again later
   */
  reserve(session: CountedSession, { maxSessions, maxSessionsPerOwner }: QuotaLimits): void {
    const { owner, empty } = session
    if (this.open >= maxSessions) throw new BitsError('too-many-sessions')
    if (owner !== undefined && this.countOf(owner) >= maxSessionsPerOwner) {
      throw new BitsError('too-many-sessions', 'Too many uploads of this owner are open')
    }
    if (empty?.client !== undefined && this.isNearLimit(maxSessions)) {
      const maxEmpty = Math.max(MinEmptySessions, Math.floor(maxSessions * MaxEmptyRatio))
      const count = this.#emptyByClient.get(empty.client)
      if (count >= maxEmpty) {
        const cause = `${this.open} of ${maxSessions} sessions are open, ${count} without a byte by ${empty.client}`
        const remedy =
          "These expire after 5 minutes. Wait, or raise maxSessions; behind a proxy, set Express' 'trust proxy'"
        throw new BitsError('too-many-sessions', `${cause}. ${remedy}`)
      }
    }
    this.#reserved.set(session.id, session)
    this.#changesDuringRecount?.set(session.id, session)
    this.#add(session)
  }

  /** Marks the session as created in the store. */
  commit({ id }: Pick<Session, 'id'>): void {
    this.#reserved.delete(id)
  }

  /** Marks the session as no longer empty. */
  markNonEmpty({ id, owner }: Pick<Session, 'id' | 'owner'>): void {
    this.#changesDuringRecount?.set(id, { id, owner })
    this.#removeEmpty(id)
  }

  release({ id }: Pick<Session, 'id'>): void {
    this.#reserved.delete(id)
    this.#changesDuringRecount?.set(id, undefined)
    if (!this.#ownerOf.has(id)) return
    this.#countByOwner.add(this.#ownerOf.get(id), -1)
    this.#ownerOf.delete(id)
    this.#removeEmpty(id)
  }

  /** The number of sessions of an owner. */
  countOf(owner: string): number {
    return this.#countByOwner.get(owner)
  }

  /** Whether any owner has more sessions than `limit`. */
  isOverLimit(limit: number): boolean {
    return this.#countByOwner.hasAbove(limit)
  }

  /** The ids of the empty sessions that are old enough to expire near the limit, the oldest first. */
  *oldEmptySessions(): Generator<string> {
    const before = Date.now() - EmptySessionTtlMs
    for (const [id, { created }] of this.#empty) {
      // A hook may delay the creation: then the session is not in the store yet.
      if (created < before && !this.#reserved.has(id)) yield id
    }
  }

  /** Call before the sessions of the store are counted. */
  beginRecount(): void {
    this.#changesDuringRecount = new Map(this.#reserved)
  }

  /** Sets the counters to the sessions found, and the changes since the recount began. */
  finishRecount(found: readonly CountedSession[]): void {
    const changes = this.#changesDuringRecount ?? new Map<string, CountedSession | undefined>()
    const known = this.#empty
    this.#changesDuringRecount = undefined
    this.#ownerOf = new Map()
    this.#countByOwner = new Counter()
    this.#empty = new Map()
    this.#emptyByClient = new Counter()
    const unchanged = found.filter(({ id }) => !changes.has(id))
    for (const session of unchanged) if (!session.empty) this.#add(session)
    const createdOf = ({ empty }: CountedSession): number => empty?.created ?? 0
    const empty = unchanged.filter((session) => session.empty).sort((a, b) => createdOf(a) - createdOf(b))
    for (const session of empty) this.#add({ ...session, empty: known.get(session.id) ?? session.empty })
    for (const session of changes.values()) if (session) this.#add(session)
  }

  abortRecount(): void {
    this.#changesDuringRecount = undefined
  }

  #add({ id, owner, empty }: CountedSession): void {
    this.#ownerOf.set(id, owner)
    this.#countByOwner.add(owner, 1)
    if (!empty) return
    this.#empty.set(id, empty)
    this.#emptyByClient.add(empty.client, 1)
  }

  #removeEmpty(id: string): void {
    const empty = this.#empty.get(id)
    if (!empty) return
    this.#empty.delete(id)
    this.#emptyByClient.add(empty.client, -1)
  }
}

/** Counts by key. A key whose count is 0 takes no memory. */
class Counter {
  readonly #counts = new Map<string, number>()

  get(key: string): number {
    return this.#counts.get(key) ?? 0
  }

  /** @param key undefined is not counted */
  add(key: string | undefined, change: 1 | -1): void {
    if (key === undefined) return
    const count = this.get(key) + change
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
  }

  hasAbove(limit: number): boolean {
    for (const count of this.#counts.values()) if (count > limit) return true
    return false
  }
}

import { describe, expect, it } from 'vitest'
import { type CountedSession, clientKey, SessionQuota } from '../../lib/sessions/quota.ts'

/** Near the limit from 90 sessions on; then a client may have 10 empty ones. */
const limits = { maxSessions: 100, maxSessionsPerOwner: Number.POSITIVE_INFINITY }

const empty = (id: string, client: string | undefined, created = 0): CountedSession => ({
  id,
  empty: { created, client },
})

/** A quota with `count` sessions that hold bytes. */
function quotaWith(count: number): SessionQuota {
  const quota = new SessionQuota()
  quota.beginRecount()
  quota.finishRecount(Array.from({ length: count }, (_, i) => ({ id: `full ${i}` })))
  return quota
}

function create(quota: SessionQuota, session: CountedSession): void {
  quota.reserve(session, limits)
  quota.commit(session)
}

/** Reserves sessions of a client until one is refused, and returns the number of reserved ones. */
function room(quota: SessionQuota, client: string): number {
  for (let count = 0; ; count += 1) {
    try {
      quota.reserve(empty(`${client} ${count}`, client), limits)
    } catch {
      for (let i = 0; i < count; i += 1) quota.release({ id: `${client} ${i}` })
      return count
    }
  }
}

describe('clientKey', () => {
  it.each([
    ['10.0.0.5', '10.0.0.5'],
    ['::ffff:10.0.0.5', '::ffff:10.0.0.5'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::5', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['x'.repeat(100), 'x'.repeat(45)],
    [undefined, 'unknown'],
  ])('is the address, or the first 64 bits of an IPv6 address: %s', (address, expected) => {
    expect(clientKey(undefined, address)).toBe(`address ${expected}`)
  })

  it('is the owner if there is one', () => {
    expect(clientKey('ann', '10.0.0.5')).toBe('owner ann')
  })
})

describe('Session quota', () => {
  it('limits the empty sessions of a client near the limit only', () => {
    const quota = quotaWith(0)
    for (let i = 0; i < 90; i += 1) create(quota, empty(`a ${i}`, 'a'))
    expect(() => quota.reserve(empty('a', 'a'), limits)).toThrow(
      /^90 of 100 sessions are open, 90 without a byte by a\. .*Wait.*maxSessions.*'trust proxy'$/,
    )
    expect(room(quota, 'b')).toBe(10)
    quota.release({ id: 'a 0' })
    expect(room(quota, 'a')).toBe(1)
  })

  it('does not count sessions with bytes, or ended ones, as empty', () => {
    const quota = quotaWith(85)
    for (let i = 0; i < 10; i += 1) create(quota, empty(`a ${i}`, 'a'))
    expect(room(quota, 'a')).toBe(0)
    quota.markNonEmpty({ id: 'a 0' })
    quota.markNonEmpty({ id: 'a 0' })
    expect(room(quota, 'a')).toBe(1)
    quota.release({ id: 'a 0' })
    expect(room(quota, 'a')).toBe(1)
    quota.release({ id: 'a 1' })
    quota.release({ id: 'a 1' })
    expect(room(quota, 'a')).toBe(2)
    expect(quota.open).toBe(93)
  })

  it('allows 1 % of a high limit', () => {
    const high = { ...limits, maxSessions: 2000 }
    const quota = quotaWith(1900)
    for (let i = 0; i < 20; i += 1) quota.reserve(empty(`a ${i}`, 'a'), high)
    expect(() => quota.reserve(empty('a', 'a'), high)).toThrow('1920 of 2000 sessions are open, 20')
  })

  it('never is near an infinite limit', () => {
    const quota = quotaWith(0)
    for (let i = 0; i < 1000; i += 1) {
      quota.reserve(empty(`${i}`, 'a'), { ...limits, maxSessions: Number.POSITIVE_INFINITY })
    }
    expect(quota.isNearLimit(Number.POSITIVE_INFINITY)).toBe(false)
  })

  it('keeps the client of an empty session at a recount, and counts sessions of unknown clients for none', () => {
    const quota = quotaWith(85)
    for (let i = 0; i < 5; i += 1) create(quota, empty(`a ${i}`, 'a'))
    quota.beginRecount()
    quota.finishRecount([
      ...Array.from({ length: 83 }, (_, i) => ({ id: `full ${i}` })),
      ...Array.from({ length: 7 }, (_, i) => empty(`a ${i}`, undefined)),
    ])
    expect(quota.open).toBe(90)
    expect(room(quota, 'a')).toBe(5)
  })

  it('counts the empty sessions that a recount finds for their owners', () => {
    const quota = new SessionQuota()
    quota.beginRecount()
    const owner = 'ann'
    quota.finishRecount(
      Array.from({ length: 95 }, (_, i) => ({
        id: `${i}`,
        owner,
        ...(i < 8 && { empty: { created: 0, client: clientKey(owner) } }),
      })),
    )
    expect(room(quota, clientKey(owner))).toBe(2)
    expect(quota.countOf(owner)).toBe(95)
  })

  it('does not take a session for empty that got its bytes, or ended, after a recount listed it', () => {
    const quota = quotaWith(85)
    for (const id of ['filled', 'ended', 'empty']) create(quota, empty(id, 'a'))
    quota.beginRecount()
    const found = ['filled', 'ended', 'empty', 'of another process'].map((id) => empty(id, undefined))
    quota.reserve(empty('being created', 'a'), limits)
    quota.markNonEmpty({ id: 'filled' })
    quota.markNonEmpty({ id: 'of another process' })
    quota.release({ id: 'ended' })
    quota.finishRecount(found)
    expect(quota.open).toBe(4)
    expect([...quota.oldEmptySessions()]).toEqual(['empty'])
    quota.commit({ id: 'being created' })
    expect([...quota.oldEmptySessions()].sort()).toEqual(['being created', 'empty'])
  })

  it('keeps its numbers when a recount fails', () => {
    const quota = quotaWith(85)
    for (let i = 0; i < 8; i += 1) create(quota, empty(`a ${i}`, 'a'))
    quota.beginRecount()
    quota.markNonEmpty({ id: 'a 0' })
    quota.release({ id: 'a 1' })
    quota.abortRecount()
    expect(quota.open).toBe(92)
    expect(room(quota, 'a')).toBe(4)
  })

  it('lists empty sessions older than 5 minutes, the oldest first, also after a recount', () => {
    const quota = quotaWith(0)
    const now = Date.now()
    const minutesAgo = (minutes: number): number => now - minutes * 60_000
    create(quota, empty('9', 'a', minutesAgo(9)))
    create(quota, empty('6', 'b', minutesAgo(6)))
    create(quota, empty('4', 'a', minutesAgo(4)))
    expect([...quota.oldEmptySessions()]).toEqual(['9', '6'])
    quota.beginRecount()
    quota.finishRecount([4, 8, 6, 9].map((minutes) => empty(String(minutes), undefined, minutesAgo(minutes))))
    expect([...quota.oldEmptySessions()]).toEqual(['9', '8', '6'])
  })
})

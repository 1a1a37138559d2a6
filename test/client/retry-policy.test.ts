import { describe, expect, it } from 'vitest'
import { RetryPolicy } from '../../lib/client/retry-policy.ts'
import { fastClock } from './setting.ts'

const settings = { retryDelay: 1000, maxRetryDelay: 60_000, noProgressTimeout: 1_000_000 }

describe('RetryPolicy delay', () => {
  it('doubles up to maxRetryDelay, and starts again at retryDelay after progress', () => {
    const policy = new RetryPolicy(settings, fastClock())
    const delays = () => Array.from({ length: 9 }, () => policy.nextDelay())
    const doubled = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]
    expect(delays()).toEqual(doubled)
    policy.reset()
    expect(delays()).toEqual(doubled)
  })

  it('is multiplied by a random factor, which may be 0', () => {
    for (const share of [0, 0.25, 0.999]) {
      const policy = new RetryPolicy(settings, fastClock(share))
      expect([policy.nextDelay(), policy.nextDelay()]).toEqual([1000 * share, 2000 * share])
    }
  })

  it('is maxRetryDelay at the 5000th try', () => {
    const policy = new RetryPolicy(settings, fastClock())
    expect(policy.delay(5000)).toBe(60_000)
  })
})

describe('RetryPolicy noProgressTimeout', () => {
  it('shortens the last delay to the time left, then returns no delay', () => {
    const clock = fastClock()
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, clock)
    const waited: unknown[] = []
    for (let delay = policy.nextDelay(); delay !== undefined; delay = policy.nextDelay()) {
      waited.push(delay)
      clock.time += delay
    }
    expect(waited).toEqual([1000, 2000, 4000, 3000])
  })

  it('starts at the first failure, not at the last progress', () => {
    const clock = fastClock()
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, clock)
    policy.reset()
    clock.time += 1e6
    expect(policy.nextDelay()).toBe(1000)
    clock.time += 10_000
    expect(policy.nextDelay()).toBeUndefined()
    policy.reset()
    expect(policy.nextDelay()).toBe(1000)
  })

  it('starts when the waiting began, if the first failure is a timeout', () => {
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, fastClock())
    expect(policy.nextDelay({ waited: 9500 })).toBe(500)
    policy.reset()
    expect(policy.nextDelay({ waited: 10_000 })).toBeUndefined()
  })

  it('allows no retry when 0, except one immediate retry of a free failure', () => {
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 0 }, fastClock())
    expect([policy.nextDelay({ stale: true }), policy.nextDelay({ stale: true })]).toEqual([0, undefined])
    policy.reset()
    expect([policy.nextDelay(), policy.nextDelay({ stale: true })]).toEqual([undefined, 0])
  })
})

describe('RetryPolicy attemptLimit', () => {
  it('is noProgressTimeout, from the first failure the time left, and at least 5 seconds', () => {
    const clock = fastClock()
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 60_000 }, clock)
    expect(policy.attemptLimit()).toBe(60_000)
    policy.nextDelay()
    clock.time += 20_000
    expect(policy.attemptLimit()).toBe(40_000)
    clock.time += 40_000
    expect(policy.attemptLimit()).toBe(5000)
    policy.reset()
    expect(policy.attemptLimit()).toBe(60_000)
  })

  it('is unlimited if noProgressTimeout is 0', () => {
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 0 }, fastClock())
    expect(policy.attemptLimit()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('RetryPolicy correctionDelay', () => {
  it('doubles, and is never longer than the time left', () => {
    const clock = fastClock()
    const policy = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, clock)
    expect([1, 2, 3].map((count) => policy.correctionDelay(count))).toEqual([1000, 2000, 4000])
    clock.time += 9000
    expect(policy.correctionDelay(4)).toBe(1000)
    clock.time += 9000
    expect(policy.correctionDelay(5)).toBe(0)
  })
})

describe('RetryPolicy onReplyBytes', () => {
  it('counts each 16 KiB as progress', () => {
    const policy = new RetryPolicy(settings, fastClock())
    policy.nextDelay()
    policy.onReplyBytes(16 * 1024 - 1)
    expect(policy.nextDelay()).toBe(2000)
    policy.onReplyBytes(1)
    expect(policy.nextDelay()).toBe(1000)
  })
})

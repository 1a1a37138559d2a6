import { describe, expect, it } from 'vitest'
import { RetryPolicy } from '../../lib/client/retry-policy.ts'
import { fastClock } from './setting.ts'

const settings = { retryDelay: 1000, maxRetryDelay: 60_000, noProgressTimeout: 1_000_000 }

describe('RetryPolicy delay', () => {
  it('doubles up to maxRetryDelay, and starts again at retryDelay after progress', () => {
    const patience = new RetryPolicy(settings, fastClock())
    const delays = () => Array.from({ length: 9 }, () => patience.nextDelay())
    const doubled = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]
    expect(delays()).toEqual(doubled)
    patience.reset()
    expect(delays()).toEqual(doubled)
  })

  it('is multiplied by a random factor, which may be 0', () => {
    for (const share of [0, 0.25, 0.999]) {
      const patience = new RetryPolicy(settings, fastClock(share))
      expect([patience.nextDelay(), patience.nextDelay()]).toEqual([1000 * share, 2000 * share])
    }
  })

  it('is maxRetryDelay at the 5000th try', () => {
    const patience = new RetryPolicy(settings, fastClock())
    expect(patience.delay(5000)).toBe(60_000)
  })
})

describe('RetryPolicy noProgressTimeout', () => {
  it('shortens the last delay to the time left, then returns no delay', () => {
    const clock = fastClock()
    const patience = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, clock)
    const waited: unknown[] = []
    for (let delay = patience.nextDelay(); delay !== undefined; delay = patience.nextDelay()) {
      waited.push(delay)
      clock.time += delay
    }
    expect(waited).toEqual([1000, 2000, 4000, 3000])
  })

  it('starts at the first failure, not at the last progress', () => {
    const clock = fastClock()
    const patience = new RetryPolicy({ ...settings, noProgressTimeout: 10_000 }, clock)
    patience.reset()
    clock.time += 1e6
    expect(patience.nextDelay()).toBe(1000)
    clock.time += 10_000
    expect(patience.nextDelay()).toBeUndefined()
    patience.reset()
    expect(patience.nextDelay()).toBe(1000)
  })

  it('allows no retry when 0, except one immediate retry of an excused failure', () => {
    const patience = new RetryPolicy({ ...settings, noProgressTimeout: 0 }, fastClock())
    expect([patience.nextDelay(true), patience.nextDelay(true)]).toEqual([0, undefined])
    patience.reset()
    expect([patience.nextDelay(), patience.nextDelay(true)]).toEqual([undefined, 0])
  })
})

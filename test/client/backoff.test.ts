import { describe, expect, it } from 'vitest'
import { Patience } from '../../lib/client/backoff.ts'
import { fastClock } from './setting.ts'

const settings = { retryDelay: 1000, maxRetryDelay: 60_000, noProgressTimeout: 1_000_000 }

describe('RetryPolicy delay', () => {
  it('doubles up to maxRetryDelay, and starts again at retryDelay after progress', () => {
    const patience = new Patience(settings, fastClock())
    const delays = () => Array.from({ length: 9 }, () => patience.failed())
    const doubled = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]
    expect(delays()).toEqual(doubled)
    patience.progressed()
    expect(delays()).toEqual(doubled)
  })

  it('is multiplied by a random factor, which may be 0', () => {
    for (const share of [0, 0.25, 0.999]) {
      const patience = new Patience(settings, fastClock(share))
      expect([patience.failed(), patience.failed()]).toEqual([1000 * share, 2000 * share])
    }
  })

  it('is maxRetryDelay at the 5000th try', () => {
    const patience = new Patience(settings, fastClock())
    expect(patience.delay(5000)).toBe(60_000)
  })
})

describe('RetryPolicy noProgressTimeout', () => {
  it('shortens the last delay to the time left, then returns no delay', () => {
    const clock = fastClock()
    const patience = new Patience({ ...settings, noProgressTimeout: 10_000 }, clock)
    const waited: unknown[] = []
    for (let delay = patience.failed(); delay !== undefined; delay = patience.failed()) {
      waited.push(delay)
      clock.time += delay
    }
    expect(waited).toEqual([1000, 2000, 4000, 3000])
  })

  it('starts at the first failure, not at the last progress', () => {
    const clock = fastClock()
    const patience = new Patience({ ...settings, noProgressTimeout: 10_000 }, clock)
    patience.progressed()
    clock.time += 1e6
    expect(patience.failed()).toBe(1000)
    clock.time += 10_000
    expect(patience.failed()).toBeUndefined()
    patience.progressed()
    expect(patience.failed()).toBe(1000)
  })

  it('allows no retry when 0, except one immediate retry of an excused failure', () => {
    const patience = new Patience({ ...settings, noProgressTimeout: 0 }, fastClock())
    expect([patience.failed(true), patience.failed(true)]).toEqual([0, undefined])
    patience.progressed()
    expect([patience.failed(), patience.failed(true)]).toEqual([undefined, 0])
  })
})

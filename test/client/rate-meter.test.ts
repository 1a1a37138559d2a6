import { expect, it } from 'vitest'
import { ProgressReporter, RateMeter } from '../../lib/client/progress.ts'

it('RateMeter: returns the rate of the last ten seconds', () => {
  let now = 0
  const meter = new RateMeter(() => now)
  expect(meter.rate()).toBe(0)
  for (let second = 1; second <= 30; second += 1) {
    now = second * 1000
    meter.add(500)
    expect(meter.rate()).toBeCloseTo(500)
  }
  // After ten slower seconds the rate has no share of the faster ones.
  for (let second = 31; second <= 41; second += 1) {
    now = second * 1000
    meter.add(100)
    meter.rate()
  }
  expect(meter.rate()).toBeCloseTo(100)
  now += 1e6
  expect(meter.rate()).toBeLessThan(1)
})

it('ProgressReporter: reports every change of state, and the same state at most every 100 ms', () => {
  let now = 0
  const reports: string[] = []
  const reporter = new ProgressReporter(
    ({ state, timeLeft }) => reports.push(`${state} ${timeLeft}`),
    new RateMeter(() => now),
    () => now,
  )
  const at = (time: number, state: 'fragment' | 'waiting', sent: number) => {
    now = time
    reporter.report({ state, held: 0, sent, total: 100, replyReceived: 0 })
  }
  at(0, 'fragment', 0)
  at(50, 'fragment', 10)
  at(99, 'waiting', 20)
  at(100, 'fragment', 30)
  at(199, 'fragment', 40)
  at(200, 'fragment', 100)
  expect(reports).toEqual(['fragment Infinity', 'waiting Infinity', 'fragment Infinity', 'fragment 0'])
})

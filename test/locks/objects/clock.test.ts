import { expect, it, onTestFinished, vi } from 'vitest'
import { atMostSince, now } from '../../../lib/locks/objects/clock.ts'

it('no time passes unnoticed while the machine sleeps, nor when its clock is set back', () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  const moment = now()
  vi.setSystemTime(moment.wall + 60_000)
  expect(atMostSince(moment)).toBe(60_000)
  vi.setSystemTime(moment.wall - 60_000)
  const begun = performance.now()
  while (performance.now() - begun < 2);
  expect(atMostSince(moment)).toBeGreaterThan(1)
})

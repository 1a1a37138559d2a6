import { expect, it } from 'vitest'
import { atMostSince, type Clock, now, systemClock } from '../../../lib/locks/objects/clock.ts'

it('Elapsed-time upper bound: includes system sleep and ignores a clock that is set back', () => {
  const at = (monotonic: number, wall: number): Clock => ({
    ...systemClock,
    monotonic: () => monotonic,
    wall: () => wall,
  })
  const moment = now(at(1000, 90_000))
  expect(atMostSince(at(1001, 150_000), moment)).toBe(60_000)
  expect(atMostSince(at(1002, 30_000), moment)).toBe(2)
})

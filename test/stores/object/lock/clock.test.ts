import { expect, it } from 'vitest'
import {
  type ElapsedClock,
  elapsedUpperBound,
  systemElapsedClock,
  timestampOf,
} from '../../../../lib/stores/object/lock/heartbeat.ts'

it('Elapsed-time upper bound: includes system sleep and ignores a clock that is set back', () => {
  const at = (monotonic: number, wall: number): ElapsedClock => ({
    ...systemElapsedClock,
    monotonic: () => monotonic,
    wall: () => wall,
  })
  const timestamp = timestampOf(at(1000, 90_000))
  expect(elapsedUpperBound(at(1001, 150_000), timestamp)).toBe(60_000)
  expect(elapsedUpperBound(at(1002, 30_000), timestamp)).toBe(2)
})

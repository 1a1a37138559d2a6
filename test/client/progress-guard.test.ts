import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RetryableError } from '../../lib/client/response-policy.ts'
import { ProgressGuard } from '../../lib/client/retry-policy.ts'

const sessionLost = new RetryableError('session-lost', 'Fragment was answered 500')

describe('ProgressGuard', () => {
  it('returns 0 for an advance, and the number of steps back otherwise', () => {
    const guard = new ProgressGuard()
    expect(guard.onAck(0, 100)).toBe(0)
    expect(guard.onAck(100, 50)).toBe(1)
    expect(guard.onAck(50, 90)).toBe(0)
    expect(guard.onAck(90, 90)).toBe(2)
    expect(guard.onAck(90, 101)).toBe(0)
    expect(guard.onAck(101, 0)).toBe(1)
  })

  it('throws when the server expects the same byte five times in a row', () => {
    const guard = new ProgressGuard()
    for (let i = 0; i < 4; i += 1) guard.onAck(0, 0)
    expect(() => guard.onAck(0, 0)).toThrow('It expected byte 0 5 times in a row.')
  })

  it('throws session-lost at the sixth lost session without a new byte', () => {
    const guard = new ProgressGuard()
    for (let best = 100; best < 2000; best += 100) {
      expect(guard.onSessionLost(sessionLost)).toBe(1)
      guard.onAck(0, best)
    }
    for (let i = 1; i <= 5; i += 1) {
      expect(guard.onSessionLost(sessionLost)).toBe(i)
      guard.onAck(0, 100)
    }
    expect(() => guard.onSessionLost(sessionLost)).toThrow(expect.objectContaining({ code: 'session-lost' }))
  })

  it('ends any sequence of answers with an error or with all bytes held', () => {
    const size = 50
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer({ min: -1, max: size })), (answers) => {
        const guard = new ProgressGuard()
        let held = 0
        // Between two new bytes there are at most 20 steps back and 5 sessions, each with up to 50 steps
        // forward.
        for (let responses = 0; responses < size * 26 * size; responses += 1) {
          const { value } = answers.next()
          try {
            if (value < 0) {
              guard.onSessionLost(sessionLost)
              held = 0
            } else {
              guard.onAck(held, value)
              held = value
            }
          } catch {
            return true
          }
          if (held === size) return true
        }
        return false
      }),
    )
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type FragmentSize,
  grow,
  initialSize,
  LargestFragment,
  SmallestFragment,
  shrinkOnBreak,
  shrinkOnRefusal,
} from '../../lib/client/fragment.ts'

const KiB = 1024
const fast = 100
const slow = 60_000

describe('adaptive fragment size', () => {
  it('doubles from 512 KB up to 13 MB while Acks are fast', () => {
    let size = initialSize(LargestFragment)
    const sizes: number[] = []
    for (let i = 0; i < 7; i += 1) {
      sizes.push(size.next / KiB)
      size = grow(size, size.next, fast)
    }
    expect(sizes).toEqual([512, 1024, 2048, 4096, 8192, 13_312, 13_312])
  })

  it('shrinks to 5 KB while Acks are slow or connections break', () => {
    for (const worse of [(size: FragmentSize) => grow(size, size.next, slow), shrinkOnBreak]) {
      let size = initialSize(LargestFragment)
      for (let i = 0; i < 10; i += 1) size = worse(size)
      expect(size.next).toBe(SmallestFragment)
    }
  })

  it('is unchanged by an Ack after 5 s, or by a fast Ack for a shorter fragment', () => {
    const size = initialSize(LargestFragment)
    expect(grow(size, size.next, 5000)).toEqual(size)
    expect(grow(size, size.next - 1, fast)).toEqual(size)
  })

  it('is halved by 413 down to 5 KB, and never grows back to the refused size', () => {
    let size: FragmentSize | undefined = initialSize(LargestFragment)
    size = shrinkOnRefusal(size, size.next)
    expect(size?.next).toBe(256 * KiB)
    for (let i = 0; size && i < 9; i += 1) size = grow(size, size.next, fast)
    expect(size?.next).toBe(256 * KiB)
    for (let i = 0; size && i < 6; i += 1) size = shrinkOnRefusal(size, size.next)
    expect(size?.next).toBe(SmallestFragment)
    expect(size && shrinkOnRefusal(size, SmallestFragment)).toBeUndefined()
  })

  it('stays at maxFragmentSize if that is below 5 KB', () => {
    const size = initialSize(100)
    expect([size.next, shrinkOnBreak(size).next, grow(size, 100, fast).next]).toEqual([100, 100, 100])
    expect(shrinkOnRefusal(size, 100)).toBeUndefined()
  })

  it('stays an integer within its bounds after any sequence of Acks, breaks and 413', () => {
    const step = fc.record({
      kind: fc.constantFrom('ack', 'break', '413'),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      time: fc.nat(1e5),
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5e7 }), fc.array(step), (largest, steps) => {
        let size: FragmentSize | undefined = initialSize(largest)
        for (const { kind, share, time } of steps) {
          if (!size) break
          const length: number = Math.max(1, Math.floor(size.next * share))
          if (kind === 'ack') size = grow(size, length, time)
          else size = kind === 'break' ? shrinkOnBreak(size) : shrinkOnRefusal(size, length)
          if (!size) break
          expect(Number.isInteger(size.next)).toBe(true)
          expect(size.next).toBeGreaterThanOrEqual(Math.min(SmallestFragment, largest))
          expect(size.next).toBeLessThanOrEqual(largest)
        }
      }),
    )
  })
})

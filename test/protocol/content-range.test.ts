import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lengthOf, readContentRange } from '../../lib/protocol/content-range.ts'

describe('readContentRange', () => {
  it.each([
    ['bytes 0-99/300', { first: 0, last: 99, total: 300 }],
    ['Bytes 0-99/300', { first: 0, last: 99, total: 300 }],
    ['bytes  0-0/1', { first: 0, last: 0, total: 1 }],
    [
      'bytes 9007199254740989-9007199254740990/9007199254740991',
      { first: 2 ** 53 - 3, last: 2 ** 53 - 2, total: 2 ** 53 - 1 },
    ],
    ['bytes */0', { first: 0, last: -1, total: 0 }],
    ['bytes 0-0/0', { first: 0, last: -1, total: 0 }],
    ['bytes 0--1/0', { first: 0, last: -1, total: 0 }],
  ])('parses %j', (value, range) => {
    expect(readContentRange(value)).toEqual(range)
  })

  it.each([
    '',
    'bytes',
    'bytes 0-99',
    'bytes 0-99/*',
    'bytes */300',
    'bytes 10-5/300',
    'bytes 0-300/300',
    'bytes 1-0/0',
    'bytes -5/10',
    'bytes 0x0-0x5/10',
    'bytes 0-99/300, bytes 0-99/300',
    'items 0-99/300',
    'bytes=0-99/300',
    'bytes 0-9007199254740991/9007199254740992',
    'bytes 0-9223372036854775808/9223372036854775809',
    `bytes 0-5/${'9'.repeat(30)}`,
    'bytes 0-99/300\u00a0',
    'bytes ٠-٩/١٠',
  ])('returns undefined for %j', (value) => {
    expect(readContentRange(value)).toBeUndefined()
  })

  it('parses every range inside its total, and lengthOf returns its length', () => {
    const natural = fc.maxSafeNat()
    fc.assert(
      fc.property(natural, natural, natural, (a, b, c) => {
        const [first, last, end] = [a, b, c].sort((x, y) => x - y) as [number, number, number]
        fc.pre(last < end)
        const range = readContentRange(`bytes ${first}-${last}/${end}`)
        expect(range).toEqual({ first, last, total: end })
        expect(lengthOf(range ?? { first: 0, last: 0, total: 0 })).toBe(last - first + 1)
      }),
    )
  })

  it('never returns a range beyond its total', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^bytes +[0-9*-]{0,24}\/?[0-9*]{0,22}$/), (value) => {
        const range = readContentRange(value)
        if (!range) return
        expect(range.first).toBeGreaterThanOrEqual(0)
        expect(range.last).toBeLessThan(range.total || 1)
        expect(lengthOf(range)).toBeGreaterThanOrEqual(range.total === 0 ? 0 : 1)
      }),
    )
  })
})

import { describe, expect, it } from 'vitest'
import {
  emptyLayout,
  nextGroup,
  nextPart,
  objectsOf,
  receivedOf,
  tailToCompact,
  type UploadLayout,
  withPart,
  withPiece,
} from '../../../lib/stores/object/layout.ts'

const MiB = 2 ** 20
const TiB = 2 ** 40

/** Limits of S3: 10,000 parts of an upload, each up to 5 GiB, an object up to 5 TiB. */
const maxSources = 10_000
const beginning = { part: 8 * MiB, epoch: 'e', maxSources }

/** What is held of a file when all but less than a part of it is there. */
function filled(total: number): UploadLayout {
  let held = emptyLayout(total, beginning)
  const parts = Math.floor(total / held.part)
  held = { ...held, groups: Math.floor(parts / held.compactedParts), parts: parts % held.compactedParts }
  if (held.compactedParts === 1) held = { ...held, groups: 0, parts }
  return withPiece(held, { name: 'last', size: total - receivedOf(held), level: 0 })
}

describe('Upload layout', () => {
  it.each([
    ['1 byte', 1],
    ['8 MiB', 8 * MiB],
    ['10 GiB', 10 * 2 ** 30],
    ['70 GiB', 70 * 2 ** 30],
    ['1 TiB', TiB],
    ['5 TiB', 5 * TiB],
  ])('keeps a file of %s within the object count and the size limits of one join', (_, total) => {
    const held = filled(total - 1)
    const objects = objectsOf(held)
    expect(objects.length).toBeLessThanOrEqual(maxSources)
    expect(objects.reduce((sum, { size }) => sum + size, 0)).toBe(total - 1)
    for (const { size } of objects.slice(0, -1)) {
      expect(size).toBeGreaterThanOrEqual(5 * MiB)
      expect(size).toBeLessThanOrEqual(5 * 2 ** 30)
    }
    // A group is made by a join, too.
    expect(held.compactedParts).toBeLessThanOrEqual(maxSources)
  })

  it('serializes to less than 200 characters for a file of 5 TiB', () => {
    expect(JSON.stringify(filled(5 * TiB)).length).toBeLessThan(200)
  })

  it('names its objects in the order of their bytes', () => {
    const names = objectsOf({ ...filled(TiB), pieces: [] }).map(({ key }) => key)
    expect(names).toEqual([...names].sort())
    expect(new Set(names).size).toBe(names.length)
  })

  it('groups parts when there are enough, and continues their numbers', () => {
    let held: UploadLayout = { ...emptyLayout(TiB, beginning), compactedParts: 3 }
    for (let i = 0; i < 3; i += 1) {
      expect(nextGroup(held)).toBeUndefined()
      expect(nextPart(held)).toBe(`e/part-0000000${i}`)
      held = withPart(held)
    }
    const group = nextGroup(held)
    expect(group?.of.map(({ key }) => key)).toEqual(['e/part-00000000', 'e/part-00000001', 'e/part-00000002'])
    expect(receivedOf(group?.after as UploadLayout)).toBe(receivedOf(held))
    expect(nextPart(group?.after as UploadLayout)).toBe('e/part-00000003')
    expect(objectsOf(group?.after as UploadLayout)).toEqual([{ key: 'e/group-00000000', size: 24 * MiB }])
  })

  it('holds 100,000 fragments in under 130 pieces, and rewrites each byte under 4 times on average', () => {
    const size = 80
    let held = emptyLayout(8 * MiB, beginning)
    let most = 0
    let gathered = 0
    for (let i = 0; i < 100_000; i += 1) {
      held = withPiece(held, { name: String(i), size, level: 0 })
      for (let pieces = tailToCompact(held); pieces.length > 0; pieces = tailToCompact(held)) {
        const sum = pieces.reduce((before, piece) => before + piece.size, 0)
        gathered += sum
        const rest = held.pieces.slice(0, -pieces.length)
        held = { ...held, pieces: [...rest, { name: 'more', size: sum, level: (pieces[0]?.level ?? 0) + 1 }] }
      }
      most = Math.max(most, held.pieces.length)
    }
    expect(receivedOf(held)).toBe(100_000 * size)
    expect(most).toBeLessThan(130)
    expect(gathered / receivedOf(held)).toBeLessThan(4)
  })
})

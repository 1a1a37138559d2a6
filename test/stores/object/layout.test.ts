import { describe, expect, it } from 'vitest'
import {
  emptyLayout,
  nextGroup,
  nextPartKey,
  objectsOf,
  receivedOf,
  sizeOf,
  tailToCompact,
  type UploadLayout,
  withPart,
  withTailObject,
} from '../../../lib/stores/object/layout.ts'

const MiB = 2 ** 20
const TiB = 2 ** 40

/** Limits of S3: 10,000 parts per multipart upload, 5 GiB per part, 5 TiB per object. */
const maxSources = 10_000
const parameters = { partSize: 8 * MiB, epoch: 'e', maxSources }

/** The layout of a file with all its groups, parts, and one tail object. */
function filled(total: number): UploadLayout {
  let layout = emptyLayout(total, parameters)
  const { partSize, partsPerGroup } = layout
  const parts = Math.floor(total / partSize)
  layout = { ...layout, groups: Math.floor(parts / partsPerGroup), parts: parts % partsPerGroup }
  if (partsPerGroup === 1) layout = { ...layout, groups: 0, parts }
  return withTailObject(layout, { name: 'last', size: total - receivedOf(layout), level: 0 })
}

describe('Upload layout', () => {
  it.each([
    ['1 byte', 1],
    ['8 MiB', 8 * MiB],
    ['10 GiB', 10 * 2 ** 30],
    ['70 GiB', 70 * 2 ** 30],
    ['1 TiB', TiB],
    ['5 TiB', 5 * TiB],
  ])('keeps a file of %s within the object count and the size limits of one compose call', (_, total) => {
    const layout = filled(total - 1)
    const objects = objectsOf(layout)
    expect(objects.length).toBeLessThanOrEqual(maxSources)
    expect(objects.reduce((sum, { size }) => sum + size, 0)).toBe(total - 1)
    for (const { size } of objects.slice(0, -1)) {
      expect(size).toBeGreaterThanOrEqual(5 * MiB)
      expect(size).toBeLessThanOrEqual(5 * 2 ** 30)
    }
    // A group is composed, too.
    expect(layout.partsPerGroup).toBeLessThanOrEqual(maxSources)
  })

  it('serializes to less than 200 characters for a file of 5 TiB', () => {
    expect(JSON.stringify(filled(5 * TiB)).length).toBeLessThan(200)
  })

  it('names its objects in the order of their bytes', () => {
    const names = objectsOf({ ...filled(TiB), tail: [] }).map(({ key }) => key)
    expect(names).toEqual([...names].sort())
    expect(new Set(names).size).toBe(names.length)
  })

  it('groups parts when there are enough, and continues their numbers', () => {
    let layout: UploadLayout = { ...emptyLayout(TiB, parameters), partsPerGroup: 3 }
    for (let i = 0; i < 3; i += 1) {
      expect(nextGroup(layout)).toBeUndefined()
      expect(nextPartKey(layout)).toBe(`e/part-0000000${i}`)
      layout = withPart(layout)
    }
    const group = nextGroup(layout)
    expect(group?.sources.map(({ key }) => key)).toEqual([
      'e/part-00000000',
      'e/part-00000001',
      'e/part-00000002',
    ])
    expect(receivedOf(group?.after as UploadLayout)).toBe(receivedOf(layout))
    expect(nextPartKey(group?.after as UploadLayout)).toBe('e/part-00000003')
    expect(objectsOf(group?.after as UploadLayout)).toEqual([{ key: 'e/group-00000000', size: 24 * MiB }])
  })

  it('holds 100,000 fragments in under 130 tail objects, and rewrites each byte under 4 times on average', () => {
    const size = 80
    let layout = emptyLayout(8 * MiB, parameters)
    let most = 0
    let rewritten = 0
    for (let i = 0; i < 100_000; i += 1) {
      layout = withTailObject(layout, { name: String(i), size, level: 0 })
      for (let tail = tailToCompact(layout); tail.length > 0; tail = tailToCompact(layout)) {
        const object = { name: 'compacted', size: sizeOf(tail), level: (tail[0]?.level ?? 0) + 1 }
        rewritten += object.size
        layout = { ...layout, tail: [...layout.tail.slice(0, -tail.length), object] }
      }
      most = Math.max(most, layout.tail.length)
    }
    expect(receivedOf(layout)).toBe(100_000 * size)
    expect(most).toBeLessThan(130)
    expect(rewritten / receivedOf(layout)).toBeLessThan(4)
  })
})

import { describe, expect, it } from 'vitest'
import {
  emptyLayout,
  type Part,
  partSizes,
  receivedOf,
  sizeOf,
  tailToCompact,
  type UploadLayout,
  withPart,
  withTailObject,
} from '../../../lib/stores/object/layout.ts'
import { memoryObjectService } from '../../support/memory-object-service.ts'

const MiB = 2 ** 20
const GiB = 2 ** 30
const TiB = 2 ** 40

const s3 = memoryObjectService({ semantics: 'S3' })
const azure = memoryObjectService({ semantics: 'Azure', maxParts: 50_000 })
const withEqualParts = memoryObjectService({ semantics: 'S3', equalParts: true })

describe('Upload layout', () => {
  it.each([
    ['S3', '1 byte', s3, 1],
    ['S3', '8 MiB', s3, 8 * MiB],
    ['S3', '10 GiB', s3, 10 * GiB],
    ['S3', '48 GiB', s3, 48 * GiB],
    ['S3', '1 TiB', s3, TiB],
    ['S3', '5 TiB', s3, 5 * TiB],
    ['Azure', '1 TiB', azure, TiB],
    ['Azure', '5 TiB', azure, 5 * TiB],
    ['R2', '5 TiB', withEqualParts, 5 * TiB],
  ])('has sizes of parts within the limits of %s for a file of %s', (_, _size, service, total) => {
    const { min, usual } = partSizes(service, 8 * MiB, total, emptyLayout)
    expect(min).toBeGreaterThanOrEqual(service.minPartBytes)
    // The largest part is cut before `min` more bytes are there.
    expect(usual + min).toBeLessThanOrEqual(5 * GiB)
    // All but the last have at least `min` bytes.
    expect(Math.ceil(total / min)).toBeLessThanOrEqual(service.maxParts)
  })

  it('makes fragments of 5 MiB parts on S3 up to 48 GiB', () => {
    expect(partSizes(s3, 8 * MiB, 48 * GiB, emptyLayout).min).toBeLessThan(5.1 * MiB)
    expect(partSizes(s3, 8 * MiB, 10 * GiB, emptyLayout).min).toBe(5 * MiB)
  })

  it.each([
    ['1 GiB', GiB],
    ['48 GiB', 48 * GiB],
    ['5 TiB', 5 * TiB],
  ])(
    'has so few parts for a file of %s that all records together have at most a twentieth of its bytes',
    (_, total) => {
      for (const service of [s3, azure]) {
        const { min } = partSizes(service, 8 * MiB, total, emptyLayout)
        const count = Math.ceil(total / min)
        const part: Part = [min, 'x'.repeat(32)]
        const entry = JSON.stringify(part).length + 1
        expect((count * (count + 1) * entry) / 2).toBeLessThan(total / 18)
      }
    },
  )

  it('has a first part that can take all bytes of the tail, and later ones of its size if all must be equal', () => {
    const tail = [{ name: 'a', size: 9 * MiB, level: 0 }]
    expect(partSizes(withEqualParts, 5 * MiB, GiB, { parts: [], tail }).usual).toBe(9 * MiB)
    const parts: Part[] = [[8 * MiB, 'x']]
    expect(partSizes(withEqualParts, 5 * MiB, GiB, { parts, tail: [] }).usual).toBe(8 * MiB)
    expect(partSizes(s3, 5 * MiB, GiB, { parts, tail: [] }).usual).toBe(5 * MiB)
  })

  it('loses no byte when the tail becomes a part', () => {
    const layout = withTailObject(withPart(emptyLayout, [5, 'x']), { name: 'a', size: 3, level: 0 })
    expect(receivedOf(layout)).toBe(8)
    expect(withPart(layout, [4, 'y'])).toEqual({
      parts: [
        [5, 'x'],
        [4, 'y'],
      ],
      tail: [],
    })
  })

  it('holds 100,000 fragments in under 130 tail objects, and rewrites each byte under 4 times on average', () => {
    const size = 80
    let layout: UploadLayout = emptyLayout
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

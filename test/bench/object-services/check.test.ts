import { describe, expect, it } from 'vitest'
import { contents } from '../load/contents.ts'
import type { Bucket } from './bucket.ts'
import { checkObjects } from './check.ts'

const fragment = 200_000
const sent = { name: 'f0-0', size: 1_000_001, salt: 7 }

/** A bucket with these objects. */
const bucketOf = (objects: Record<string, Buffer>): Bucket => ({
  create: async () => {},
  list: async () => new Map(Object.entries(objects).map(([name, { length }]) => [name, length])),
  listUnfinished: async () => [],
  read: async (name, first, length) => objects[name]?.subarray(first, first + length) ?? Buffer.alloc(0),
})

const bytes = (): Buffer => Buffer.concat(contents(sent.salt, 0, sent.size))

describe('checkObjects', () => {
  it('accepts the bytes that were sent', async () => {
    await checkObjects(bucketOf({ [sent.name]: bytes() }), [sent], fragment)
  })

  it.each([0, fragment - 1, fragment, 3 * fragment, sent.size - 1])('finds a changed byte %i', async (at) => {
    const changed = bytes()
    changed[at] = (changed[at] ?? 0) ^ 1
    const check = checkObjects(bucketOf({ [sent.name]: changed }), [sent], fragment)
    await expect(check).rejects.toThrow('f0-0 differs from what was sent')
  })

  it('finds a missing and a shortened object', async () => {
    const check = (objects: Record<string, Buffer>) => checkObjects(bucketOf(objects), [sent], fragment)
    await expect(check({})).rejects.toThrow('f0-0 is missing')
    await expect(check({ [sent.name]: bytes().subarray(1) })).rejects.toThrow('f0-0 has 1000000 bytes')
  })
})

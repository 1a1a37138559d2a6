import assert from 'node:assert/strict'
import type { ObjectService } from '../../../../../lib/stores/object/service/service.ts'
import { aborted, all, type Chapter, keysOf, oddKey, put } from './tested.ts'

/** More than S3 lists, or removes, in one answer. */
const many = 1_100

/** Writes small objects, some at a time. */
async function putMany(space: ObjectService, keys: readonly string[]): Promise<void> {
  const left = keys.values()
  const some = async (): Promise<void> => {
    for (const key of left) await put(space, key, '')
  }
  await Promise.all(Array.from({ length: 16 }, some))
}

export const listing: Chapter = {
  name: 'list() and folders()',
  cases: [
    {
      title: 'list() returns the objects whose keys begin with the prefix, in key order',
      async run({ space }) {
        await putMany(space, ['b', 'a/c', 'ab', 'a', 'a/b/c', 'a/b', 'Ab'])
        assert.deepEqual(await keysOf(space, 'a'), ['a', 'a/b', 'a/b/c', 'a/c', 'ab'])
        assert.deepEqual(await keysOf(space, 'a/'), ['a/b', 'a/b/c', 'a/c'])
        assert.deepEqual(await keysOf(space, 'a/b/c'), ['a/b/c'])
        assert.deepEqual(await keysOf(space, 'a/b/c/'), [])
        assert.deepEqual(await keysOf(space), ['Ab', 'a', 'a/b', 'a/b/c', 'a/c', 'ab', 'b'])
      },
    },
    {
      title: 'list() returns size and modification time',
      async run({ space }) {
        await put(space, 'a', 'abc')
        const found = await space.head('a')
        const [listed] = await all(space.list(''))
        assert.equal(listed?.size, 3)
        assert.ok(Math.abs(listed.modified - (found?.modified ?? 0)) < 1000)
      },
    },
    {
      title: 'list() and folders() return special characters unchanged',
      async run({ space, below }) {
        const odd = below('ö+%2F &/')
        await put(odd, `deep/${oddKey}/end`)
        const [folder = '', name = ''] = oddKey.split('/')
        assert.deepEqual(await keysOf(odd, `deep/${folder}`), [`deep/${oddKey}/end`])
        assert.deepEqual(await all(odd.folders('deep/')), [folder])
        assert.deepEqual(await all(odd.folders(`deep/${folder}/`)), [name])
        assert.deepEqual(await all(space.folders('ö+%2F &/deep/')), [folder])
      },
    },
    {
      title: 'folders() returns each name up to the next slash once, and no objects',
      async run({ space }) {
        await putMany(space, ['a/1/x', 'a/1/y/z', 'a/2/x', 'a/3', 'ab/4/x', 'b/5/x'])
        assert.deepEqual((await all(space.folders('a/'))).sort(), ['1', '2'])
        assert.deepEqual(await all(space.folders('a/1/')), ['y'])
        assert.deepEqual(await all(space.folders('c/')), [])
      },
    },
    {
      title: 'list(), folders() and remove() handle more than one page',
      isLong: true,
      async run({ space }) {
        const name = (i: number): string => String(i).padStart(5, '0')
        const names = Array.from({ length: many }, (_, i) => name(i))
        const keys = names.map((folder) => `a/${folder}/x`)
        await putMany(space, keys)
        assert.deepEqual(await keysOf(space, 'a/'), keys)
        assert.deepEqual((await all(space.folders('a/'))).sort(), names)
        await space.remove(keys.slice(1))
        assert.deepEqual(await keysOf(space), keys.slice(0, 1))
      },
    },
    {
      title: 'list() and folders() reject when the signal is already aborted',
      async run({ space }) {
        await put(space, 'a/b/c')
        await assert.rejects(all(space.list('', { signal: aborted() })))
        await assert.rejects(all(space.folders('a/', { signal: aborted() })))
      },
    },
  ],
}

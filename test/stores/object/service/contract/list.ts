import assert from 'node:assert/strict'
import type { ObjectService } from '../../../../../lib/stores/object/service/service.ts'
import { aborted, all, keysOf, oddKey, put, type Section } from './fixture.ts'

/** More objects than one response of S3 lists, or one request removes. */
const many = 1_100

/** Writes small objects, 16 at a time. */
async function putMany(service: ObjectService, keys: readonly string[]): Promise<void> {
  const remaining = keys.values()
  const worker = async (): Promise<void> => {
    for (const key of remaining) await put(service, key, '')
  }
  await Promise.all(Array.from({ length: 16 }, worker))
}

export const listSection: Section = {
  name: 'list() and folders()',
  tests: [
    {
      title: 'list() returns the objects whose keys begin with the prefix, in key order',
      async run({ service }) {
        await putMany(service, ['b', 'a/c', 'ab', 'a', 'a/b/c', 'a/b', 'Ab'])
        assert.deepEqual(await keysOf(service, 'a'), ['a', 'a/b', 'a/b/c', 'a/c', 'ab'])
        assert.deepEqual(await keysOf(service, 'a/'), ['a/b', 'a/b/c', 'a/c'])
        assert.deepEqual(await keysOf(service, 'a/b/c'), ['a/b/c'])
        assert.deepEqual(await keysOf(service, 'a/b/c/'), [])
        assert.deepEqual(await keysOf(service), ['Ab', 'a', 'a/b', 'a/b/c', 'a/c', 'ab', 'b'])
      },
    },
    {
      title: 'list() returns size and modification time',
      async run({ service }) {
        await put(service, 'a', 'abc')
        const found = await service.head('a')
        const [listed] = await all(service.list(''))
        assert.equal(listed?.size, 3)
        assert.ok(Math.abs(listed.modified - (found?.modified ?? 0)) < 1000)
      },
    },
    {
      title: 'list() and folders() return special characters unchanged',
      async run({ service, below }) {
        const odd = below('ö+%2F &/')
        await put(odd, `deep/${oddKey}/end`)
        const [folder = '', name = ''] = oddKey.split('/')
        assert.deepEqual(await keysOf(odd, `deep/${folder}`), [`deep/${oddKey}/end`])
        assert.deepEqual(await all(odd.folders('deep/')), [folder])
        assert.deepEqual(await all(odd.folders(`deep/${folder}/`)), [name])
        assert.deepEqual(await all(service.folders('ö+%2F &/deep/')), [folder])
      },
    },
    {
      title: 'folders() returns each name up to the next slash once, and no objects',
      async run({ service }) {
        await putMany(service, ['a/1/x', 'a/1/y/z', 'a/2/x', 'a/3', 'ab/4/x', 'b/5/x'])
        assert.deepEqual((await all(service.folders('a/'))).sort(), ['1', '2'])
        assert.deepEqual(await all(service.folders('a/1/')), ['y'])
        assert.deepEqual(await all(service.folders('c/')), [])
      },
    },
    {
      title: 'list(), folders() and remove() handle more than one page',
      isLong: true,
      async run({ service }) {
        const name = (i: number): string => String(i).padStart(5, '0')
        const names = Array.from({ length: many }, (_, i) => name(i))
        const keys = names.map((folder) => `a/${folder}/x`)
        await putMany(service, keys)
        assert.deepEqual(await keysOf(service, 'a/'), keys)
        assert.deepEqual((await all(service.folders('a/'))).sort(), names)
        await service.remove(keys.slice(1))
        assert.deepEqual(await keysOf(service), keys.slice(0, 1))
      },
    },
    {
      title: 'list() and folders() reject when the signal is already aborted',
      async run({ service }) {
        await put(service, 'a/b/c')
        await assert.rejects(all(service.list('', { signal: aborted() })))
        await assert.rejects(all(service.folders('a/', { signal: aborted() })))
      },
    },
  ],
}

import assert from 'node:assert/strict'
import { aborted, type Chapter, keysOf, oddKey, put, textOf } from './tested.ts'

export const removing: Chapter = {
  name: 'remove() and removeIf()',
  cases: [
    {
      title: 'remove() removes the given keys and nothing else',
      async run({ space }) {
        for (const key of ['a', 'a/b', 'ab', oddKey, 'c']) await put(space, key)
        await space.remove(['a'])
        assert.deepEqual((await keysOf(space)).sort(), ['a/b', 'ab', 'c', oddKey].sort())
        await space.remove(['ab', oddKey])
        assert.deepEqual(await keysOf(space), ['a/b', 'c'])
      },
    },
    {
      title: 'remove() accepts special characters in a single key',
      async run({ space }) {
        await put(space, oddKey)
        await space.remove([oddKey])
        assert.deepEqual(await keysOf(space), [])
      },
    },
    {
      title: 'remove() ignores missing objects',
      async run({ space }) {
        await put(space, 'a')
        await space.remove([])
        await space.remove(['b'])
        await space.remove(['b', 'a', 'c'])
        await space.remove(['a'])
        assert.deepEqual(await keysOf(space), [])
      },
    },
    {
      title: 'removeIf() removes the given version',
      async run({ space }) {
        const version = await put(space, oddKey)
        await space.removeIfVersion(oddKey, version)
        assert.equal(await space.head(oddKey), undefined)
      },
    },
    {
      title: 'removeIf() keeps another version, where the service supports the condition',
      async run({ space, keeps }) {
        const version = await put(space, 'a', 'old')
        await put(space, 'a', 'new')
        await space.removeIfVersion('a', version)
        assert.equal(await textOf(space, 'a'), keeps.removeIf ? 'new' : undefined)
      },
    },
    {
      title: 'removeIf() ignores a missing object',
      async run({ space }) {
        const version = await put(space, 'a')
        await space.removeIfVersion('a', version)
        await space.removeIfVersion('a', version)
        assert.deepEqual(await keysOf(space), [])
      },
    },
    {
      title: 'remove() and removeIf() remove nothing when the signal is already aborted',
      async run({ space }) {
        const version = await put(space, 'a')
        await put(space, 'b')
        await assert.rejects(space.remove(['a'], { signal: aborted() }))
        await assert.rejects(space.remove(['a', 'b'], { signal: aborted() }))
        await assert.rejects(space.removeIfVersion('a', version, { signal: aborted() }))
        assert.deepEqual(await keysOf(space), ['a', 'b'])
      },
    },
  ],
}

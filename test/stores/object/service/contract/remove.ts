import assert from 'node:assert/strict'
import { aborted, keysOf, oddKey, put, type Section, textOf } from './fixture.ts'

export const removeSection: Section = {
  name: 'remove() and removeIfVersion()',
  tests: [
    {
      title: 'remove() removes the given keys and nothing else',
      async run({ service }) {
        for (const key of ['a', 'a/b', 'ab', oddKey, 'c']) await put(service, key)
        await service.remove(['a'])
        assert.deepEqual((await keysOf(service)).sort(), ['a/b', 'ab', 'c', oddKey].sort())
        await service.remove(['ab', oddKey])
        assert.deepEqual(await keysOf(service), ['a/b', 'c'])
      },
    },
    {
      title: 'remove() accepts special characters in a single key',
      async run({ service }) {
        await put(service, oddKey)
        await service.remove([oddKey])
        assert.deepEqual(await keysOf(service), [])
      },
    },
    {
      title: 'remove() ignores missing objects',
      async run({ service }) {
        await put(service, 'a')
        await service.remove([])
        await service.remove(['b'])
        await service.remove(['b', 'a', 'c'])
        await service.remove(['a'])
        assert.deepEqual(await keysOf(service), [])
      },
    },
    {
      title: 'removeIfVersion() removes the given version',
      async run({ service }) {
        const version = await put(service, oddKey)
        await service.removeIfVersion(oddKey, version)
        assert.equal(await service.head(oddKey), undefined)
      },
    },
    {
      title: 'removeIfVersion() keeps another version, where the service supports the condition',
      async run({ service, supports }) {
        const version = await put(service, 'a', 'old')
        await put(service, 'a', 'new')
        await service.removeIfVersion('a', version)
        assert.equal(await textOf(service, 'a'), supports.conditionalRemovals ? 'new' : undefined)
      },
    },
    {
      title: 'removeIfVersion() ignores a missing object',
      async run({ service }) {
        const version = await put(service, 'a')
        await service.removeIfVersion('a', version)
        await service.removeIfVersion('a', version)
        assert.deepEqual(await keysOf(service), [])
      },
    },
    {
      title: 'remove() and removeIfVersion() remove nothing when the signal is already aborted',
      async run({ service }) {
        const version = await put(service, 'a')
        await put(service, 'b')
        await assert.rejects(service.remove(['a'], { signal: aborted() }))
        await assert.rejects(service.remove(['a', 'b'], { signal: aborted() }))
        await assert.rejects(service.removeIfVersion('a', version, { signal: aborted() }))
        assert.deepEqual(await keysOf(service), ['a', 'b'])
      },
    },
  ],
}

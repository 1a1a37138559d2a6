import assert from 'node:assert/strict'
import { aborted, keysOf, oddKey, put, type Section } from './fixture.ts'

export const removeSection: Section = {
  name: 'remove()',
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
      title: 'remove() removes nothing when the signal is already aborted',
      async run({ service }) {
        await put(service, 'a')
        await put(service, 'b')
        await assert.rejects(service.remove(['a'], { signal: aborted() }))
        await assert.rejects(service.remove(['a', 'b'], { signal: aborted() }))
        assert.deepEqual(await keysOf(service), ['a', 'b'])
      },
    },
  ],
}

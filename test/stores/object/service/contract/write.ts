import assert from 'node:assert/strict'
import { noise } from '../../../../support/bytes.ts'
import {
  aborted,
  assertBytes,
  assertConditionFailed,
  type Chapter,
  keysOf,
  oddKey,
  put,
  textOf,
  winnerOf,
} from './tested.ts'

export const writing: Chapter = {
  name: 'put()',
  cases: [
    {
      title: 'writes chunks in order',
      async run({ space }) {
        const bytes = noise(100_000)
        const chunks: Uint8Array[] = [bytes.subarray(0, 1), new Uint8Array(0), bytes.subarray(1, 70_000)]
        // A view of a buffer that has more, and no Buffer.
        chunks.push(new Uint8Array(bytes.buffer, bytes.byteOffset + 70_000, 30_000))
        await space.put('a', chunks)
        assertBytes((await space.get('a'))?.bytes, bytes)
      },
    },
    {
      title: 'writes an empty object when there are no bytes',
      async run({ space }) {
        await space.put('none', [])
        await space.put('empty', [new Uint8Array(0)])
        for (const key of ['none', 'empty']) {
          assert.equal((await space.get(key))?.bytes.length, 0)
          assert.equal((await space.head(key))?.size, 0)
        }
      },
    },
    {
      title: 'writes 8 MiB in one call',
      async run({ space }) {
        const bytes = noise(8 * 2 ** 20)
        await space.put('a', [bytes.subarray(0, 3_000_000), bytes.subarray(3_000_000)])
        assertBytes((await space.get('a'))?.bytes, bytes)
      },
    },
    {
      title: 'resolves to the version that get() and head() return, which changes with the bytes',
      async run({ space }) {
        const versions = new Set<string>()
        for (const text of ['one', 'two', '']) {
          const version = await put(space, 'a', text)
          versions.add(version)
          assert.equal((await space.get('a'))?.version, version)
          assert.equal((await space.head('a'))?.version, version)
        }
        assert.equal(versions.size, 3)
      },
    },
    {
      title: 'replaces an existing object and its description',
      async run({ space, contentType }) {
        const description = { contentType: 'text/html', metadata: { owner: 'ann' } }
        await space.put('a', [Buffer.from('longer')], { description })
        await put(space, 'a', 'short')
        assert.equal(await textOf(space, 'a'), 'short')
        assert.deepEqual((await space.head('a'))?.metadata, {})
        assert.notEqual(await contentType('a'), 'text/html')
      },
    },
    {
      title: 'stores content type and metadata with any characters',
      async run({ space, contentType }) {
        const metadata = { owner: 'ann', shop: 'Käse & ☃ 100%', path: 'a%20b', lines: 'a\r\nb', blank: ' x ' }
        const description = { contentType: 'text/plain; charset=utf-8', metadata }
        await space.put('a', [Buffer.from('abc')], { description })
        assert.deepEqual((await space.head('a'))?.metadata, metadata)
        assert.equal(await contentType('a'), 'text/plain; charset=utf-8')
      },
    },
    {
      title: 'makes the object visible at once to another client, under any key',
      async run({ space, below }) {
        await put(below(''), oddKey, 'abc')
        assert.equal(await textOf(space, oddKey), 'abc')
        assert.equal((await space.head(oddKey))?.size, 3)
        assert.deepEqual(await keysOf(space), [oddKey])
      },
    },
    {
      title: 'writes only below its prefix',
      async run({ space, below }) {
        const [one, other] = [below('one/'), below('ünï %20/')]
        await put(one, 'a', '1')
        await put(other, 'a', '2')
        assert.deepEqual(await keysOf(one), ['a'])
        assert.deepEqual(await keysOf(other), ['a'])
        assert.deepEqual(await keysOf(space), ['one/a', 'ünï %20/a'])
        await other.remove(['a'])
        assert.equal(await textOf(one, 'a'), '1')
      },
    },
    {
      title: 'replaces an object atomically: a concurrent get() returns one of the versions',
      async run({ space }) {
        const size = 2_000_000
        await space.put('a', [Buffer.alloc(size, 0)])
        const writes = Array.from({ length: 5 }, (_, i) => space.put('a', [Buffer.alloc(size, i)]))
        const seen = await Promise.all(Array.from({ length: 10 }, () => space.get('a')))
        await Promise.all(writes)
        for (const found of seen) assertBytes(found?.bytes, Buffer.alloc(size, found?.bytes[0]))
      },
    },
    {
      title: 'writes nothing when the signal is already aborted',
      async run({ space }) {
        await assert.rejects(space.put('a', [Buffer.from('abc')], { signal: aborted() }))
        assert.equal(await space.head('a'), undefined)
      },
    },
  ],
}

export const conditions: Chapter = {
  name: 'put() with a condition',
  cases: [
    {
      title: 'absent: writes only when no object exists',
      async run({ space }) {
        const version = await space.put('a', [Buffer.from('first')], { condition: 'absent' })
        assert.equal((await space.head('a'))?.version, version)
        await assertConditionFailed(space.put('a', [Buffer.from('second')], { condition: 'absent' }))
        await assertConditionFailed(space.put('a', [Buffer.from('first')], { condition: 'absent' }))
        assert.equal(await textOf(space, 'a'), 'first')
      },
    },
    {
      title: 'absent: writes after the object was removed',
      async run({ space }) {
        await put(space, 'a', 'first')
        await space.remove(['a'])
        await space.put('a', [Buffer.from('second')], { condition: 'absent' })
        assert.equal(await textOf(space, 'a'), 'second')
      },
    },
    {
      title: 'absent: one of 20 concurrent calls succeeds',
      async run({ space }) {
        const winner = await winnerOf(20, (i) =>
          space.put('a', [Buffer.from(`I am ${i}`)], { condition: 'absent' }),
        )
        assert.equal(await textOf(space, 'a'), `I am ${winner}`)
      },
    },
    {
      title: 'version: writes only over that version',
      async run({ space }) {
        const first = await put(space, 'a', 'first')
        const second = await space.put('a', [Buffer.from('second')], { condition: { version: first } })
        await assertConditionFailed(space.put('a', [Buffer.from('third')], { condition: { version: first } }))
        assert.equal(await textOf(space, 'a'), 'second')
        await space.put('a', [Buffer.from('third')], { condition: { version: second } })
        assert.equal(await textOf(space, 'a'), 'third')
      },
    },
    {
      title: 'version: accepts the version of get() and of head()',
      async run({ space }) {
        await put(space, 'a', 'first')
        for (const look of ['get', 'head'] as const) {
          const version = (await space[look]('a'))?.version ?? ''
          await space.put('a', [Buffer.from(look)], { condition: { version } })
          assert.equal(await textOf(space, 'a'), look)
        }
      },
    },
    {
      title: 'version: rejects with ConditionFailed after the object was removed',
      async run({ space }) {
        const version = await put(space, 'a', 'first')
        await space.remove(['a'])
        await assertConditionFailed(space.put('a', [Buffer.from('second')], { condition: { version } }))
        assert.equal(await space.head('a'), undefined)
      },
    },
    {
      title: 'version: one of 20 concurrent calls succeeds',
      async run({ space }) {
        const version = await put(space, 'a', 'first')
        const winner = await winnerOf(20, (i) =>
          space.put('a', [Buffer.from(`I am ${i}`)], { condition: { version } }),
        )
        assert.equal(await textOf(space, 'a'), `I am ${winner}`)
      },
    },
    {
      title: 'accepts special characters in keys, and a description',
      async run({ space }) {
        const description = { contentType: 'application/json', metadata: { owner: 'Zoë' } }
        const version = await space.put(oddKey, [Buffer.from('1')], { condition: 'absent', description })
        await assertConditionFailed(space.put(oddKey, [Buffer.from('2')], { condition: 'absent' }))
        await space.put(oddKey, [Buffer.from('3')], { condition: { version }, description })
        assert.deepEqual((await space.head(oddKey))?.metadata, { owner: 'Zoë' })
      },
    },
  ],
}

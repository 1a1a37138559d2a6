import assert from 'node:assert/strict'
import { noise } from '../../../../support/bytes.ts'
import {
  aborted,
  assertBytes,
  assertConditionFailed,
  keysOf,
  oddKey,
  put,
  type Section,
  textOf,
  winnerOf,
} from './fixture.ts'

export const writeSection: Section = {
  name: 'put()',
  tests: [
    {
      title: 'writes chunks in order',
      async run({ service }) {
        const bytes = noise(100_000)
        const chunks: Uint8Array[] = [bytes.subarray(0, 1), new Uint8Array(0), bytes.subarray(1, 70_000)]
        // A view of a part of a buffer, and not a Buffer.
        chunks.push(new Uint8Array(bytes.buffer, bytes.byteOffset + 70_000, 30_000))
        await service.put('a', chunks)
        assertBytes((await service.get('a'))?.bytes, bytes)
      },
    },
    {
      title: 'writes an empty object when there are no bytes',
      async run({ service }) {
        await service.put('none', [])
        await service.put('empty', [new Uint8Array(0)])
        for (const key of ['none', 'empty']) {
          assert.equal((await service.get(key))?.bytes.length, 0)
          assert.equal((await service.head(key))?.size, 0)
        }
      },
    },
    {
      title: 'writes 8 MiB in one call',
      async run({ service }) {
        const bytes = noise(8 * 2 ** 20)
        await service.put('a', [bytes.subarray(0, 3_000_000), bytes.subarray(3_000_000)])
        assertBytes((await service.get('a'))?.bytes, bytes)
      },
    },
    {
      title: 'resolves to the version that get() and head() return, which changes with the bytes',
      async run({ service }) {
        const versions = new Set<string>()
        for (const text of ['one', 'two', '']) {
          const version = await put(service, 'a', text)
          versions.add(version)
          assert.equal((await service.get('a'))?.version, version)
          assert.equal((await service.head('a'))?.version, version)
        }
        assert.equal(versions.size, 3)
      },
    },
    {
      title: 'replaces an existing object and its attributes',
      async run({ service, contentType }) {
        const attributes = { contentType: 'text/html', metadata: { owner: 'ann' } }
        await service.put('a', [Buffer.from('longer')], { attributes })
        await put(service, 'a', 'short')
        assert.equal(await textOf(service, 'a'), 'short')
        assert.deepEqual((await service.head('a'))?.metadata, {})
        assert.notEqual(await contentType('a'), 'text/html')
      },
    },
    {
      title: 'stores content type and metadata with any characters',
      async run({ service, contentType }) {
        const metadata = { owner: 'ann', shop: 'Käse & ☃ 100%', path: 'a%20b', lines: 'a\r\nb', blank: ' x ' }
        const attributes = { contentType: 'text/plain; charset=utf-8', metadata }
        await service.put('a', [Buffer.from('abc')], { attributes })
        assert.deepEqual((await service.head('a'))?.metadata, metadata)
        assert.equal(await contentType('a'), 'text/plain; charset=utf-8')
      },
    },
    {
      title: 'makes the object visible at once to another client, under any key',
      async run({ service, below }) {
        await put(below(''), oddKey, 'abc')
        assert.equal(await textOf(service, oddKey), 'abc')
        assert.equal((await service.head(oddKey))?.size, 3)
        assert.deepEqual(await keysOf(service), [oddKey])
      },
    },
    {
      title: 'writes only below its prefix',
      async run({ service, below }) {
        const [one, other] = [below('one/'), below('ünï %20/')]
        await put(one, 'a', '1')
        await put(other, 'a', '2')
        assert.deepEqual(await keysOf(one), ['a'])
        assert.deepEqual(await keysOf(other), ['a'])
        assert.deepEqual(await keysOf(service), ['one/a', 'ünï %20/a'])
        await other.remove(['a'])
        assert.equal(await textOf(one, 'a'), '1')
      },
    },
    {
      title: 'replaces an object atomically: a concurrent get() returns one of the versions',
      async run({ service }) {
        const size = 2_000_000
        await service.put('a', [Buffer.alloc(size, 0)])
        const writes = Array.from({ length: 5 }, (_, i) => service.put('a', [Buffer.alloc(size, i)]))
        const seen = await Promise.all(Array.from({ length: 10 }, () => service.get('a')))
        await Promise.all(writes)
        for (const found of seen) assertBytes(found?.bytes, Buffer.alloc(size, found?.bytes[0]))
      },
    },
    {
      title: 'writes nothing when the signal is already aborted',
      async run({ service }) {
        await assert.rejects(service.put('a', [Buffer.from('abc')], { signal: aborted() }))
        assert.equal(await service.head('a'), undefined)
      },
    },
  ],
}

export const conditionSection: Section = {
  name: 'put() with a condition',
  tests: [
    {
      title: 'absent: writes only when no object exists',
      async run({ service }) {
        const version = await service.put('a', [Buffer.from('first')], { condition: 'absent' })
        assert.equal((await service.head('a'))?.version, version)
        await assertConditionFailed(service.put('a', [Buffer.from('second')], { condition: 'absent' }))
        await assertConditionFailed(service.put('a', [Buffer.from('first')], { condition: 'absent' }))
        assert.equal(await textOf(service, 'a'), 'first')
      },
    },
    {
      title: 'absent: writes after the object was removed',
      async run({ service }) {
        await put(service, 'a', 'first')
        await service.remove(['a'])
        await service.put('a', [Buffer.from('second')], { condition: 'absent' })
        assert.equal(await textOf(service, 'a'), 'second')
      },
    },
    {
      title: 'absent: one of 20 concurrent calls succeeds',
      async run({ service }) {
        const winner = await winnerOf(20, (i) =>
          service.put('a', [Buffer.from(`I am ${i}`)], { condition: 'absent' }),
        )
        assert.equal(await textOf(service, 'a'), `I am ${winner}`)
      },
    },
    {
      title: 'version: writes only over that version',
      async run({ service }) {
        const first = await put(service, 'a', 'first')
        const second = await service.put('a', [Buffer.from('second')], { condition: { version: first } })
        await assertConditionFailed(
          service.put('a', [Buffer.from('third')], { condition: { version: first } }),
        )
        assert.equal(await textOf(service, 'a'), 'second')
        await service.put('a', [Buffer.from('third')], { condition: { version: second } })
        assert.equal(await textOf(service, 'a'), 'third')
      },
    },
    {
      title: 'version: accepts the version of get() and of head()',
      async run({ service }) {
        await put(service, 'a', 'first')
        for (const method of ['get', 'head'] as const) {
          const version = (await service[method]('a'))?.version ?? ''
          await service.put('a', [Buffer.from(method)], { condition: { version } })
          assert.equal(await textOf(service, 'a'), method)
        }
      },
    },
    {
      title: 'version: rejects with ConditionFailed after the object was removed',
      async run({ service }) {
        const version = await put(service, 'a', 'first')
        await service.remove(['a'])
        await assertConditionFailed(service.put('a', [Buffer.from('second')], { condition: { version } }))
        assert.equal(await service.head('a'), undefined)
      },
    },
    {
      title: 'version: one of 20 concurrent calls succeeds',
      async run({ service }) {
        const version = await put(service, 'a', 'first')
        const winner = await winnerOf(20, (i) =>
          service.put('a', [Buffer.from(`I am ${i}`)], { condition: { version } }),
        )
        assert.equal(await textOf(service, 'a'), `I am ${winner}`)
      },
    },
    {
      title: 'accepts special characters in keys, and a attributes',
      async run({ service }) {
        const attributes = { contentType: 'application/json', metadata: { owner: 'Zoë' } }
        const version = await service.put(oddKey, [Buffer.from('1')], { condition: 'absent', attributes })
        await assertConditionFailed(service.put(oddKey, [Buffer.from('2')], { condition: 'absent' }))
        await service.put(oddKey, [Buffer.from('3')], { condition: { version }, attributes })
        assert.deepEqual((await service.head(oddKey))?.metadata, { owner: 'Zoë' })
      },
    },
  ],
}

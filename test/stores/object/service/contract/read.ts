import assert from 'node:assert/strict'
import { once } from 'node:events'
import { noise } from '../../../../support/bytes.ts'
import { aborted, assertBytes, bytesOf, type Chapter, oddKey, put } from './tested.ts'

export const reading: Chapter = {
  name: 'get(), head() and read()',
  cases: [
    {
      title: 'get() and head() return undefined when the object is missing',
      async run({ space }) {
        await put(space, 'a/b')
        for (const key of ['a', 'a/', 'a/b/', 'a/bc', oddKey]) {
          assert.equal(await space.get(key), undefined)
          assert.equal(await space.head(key), undefined)
        }
      },
    },
    {
      title: 'head() returns the size, the time by the service clock, and empty metadata by default',
      async run({ space }) {
        const before = Date.now()
        await put(space, 'a', 'abc')
        const found = await space.head('a')
        assert.equal(found?.size, 3)
        assert.deepEqual(found.metadata, {})
        // Whole seconds may be rounded either way; the service runs on this machine.
        assert.ok(found.modified > before - 2000 && found.modified < Date.now() + 2000)
      },
    },
    {
      title: 'read() returns the bytes from first to last, inclusive',
      async run({ space }) {
        const bytes = noise(3_000_000)
        await space.put(oddKey, [bytes])
        const ranges = [
          [0, 0],
          [0, 2_999_999],
          [1, 1],
          [999_999, 2_000_000],
          [2_999_999, 2_999_999],
        ] as const
        for (const [first, last] of ranges) {
          assertBytes(await bytesOf(space.read(oddKey, first, last)), bytes.subarray(first, last + 1))
        }
      },
    },
    {
      title: 'read() sends its request when the stream is read, not before',
      async run({ space }) {
        const stream = space.read('a', 1, 2)
        await put(space, 'a', 'abc')
        assert.equal((await bytesOf(stream)).toString(), 'bc')
      },
    },
    {
      title: 'read() of a missing object fails when the stream is read, not before',
      async run({ space }) {
        const failed: unknown[] = []
        const stream = space.read('a', 0, 9).on('error', (error) => failed.push(error))
        assert.equal(await space.head('a'), undefined)
        assert.deepEqual(failed, [])
        await assert.rejects(bytesOf(stream), { name: 'ObjectMissing' })
      },
    },
    {
      title: 'read() can be destroyed before it starts and in the middle',
      async run({ space }) {
        await space.put('a', [noise(5_000_000)])
        const unread = space.read('a', 0, 4_999_999)
        unread.destroy()
        await once(unread, 'close')
        const begun = space.read('a', 0, 4_999_999)
        await once(begun, 'readable')
        begun.destroy()
        await once(begun, 'close')
        for (const stream of [unread, begun]) assert.equal(stream.errored, null)
      },
    },
    {
      title: 'read() supports 20 concurrent streams of one object',
      async run({ space }) {
        const bytes = noise(1_000_000)
        await space.put('a', [bytes])
        const streams = Array.from({ length: 20 }, (_, i) => space.read('a', i, 999_999))
        const read = await Promise.all(streams.map(bytesOf))
        for (const [i, one] of read.entries()) assertBytes(one, bytes.subarray(i))
      },
    },
    {
      title: 'get() and head() reject when the signal is already aborted',
      async run({ space }) {
        await put(space, 'a')
        await assert.rejects(space.get('a', { signal: aborted() }))
        await assert.rejects(space.head('a', { signal: aborted() }))
      },
    },
  ],
}

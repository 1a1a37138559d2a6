import assert from 'node:assert/strict'
import { once } from 'node:events'
import { noise } from '../../../../support/bytes.ts'
import { aborted, assertBytes, bytesOf, oddKey, put, type Section } from './fixture.ts'

export const readSection: Section = {
  name: 'get(), head() and read()',
  tests: [
    {
      title: 'get() and head() return undefined when the object is missing',
      async run({ service }) {
        await put(service, 'a/b')
        for (const key of ['a', 'a/', 'a/b/', 'a/bc', oddKey]) {
          assert.equal(await service.get(key), undefined)
          assert.equal(await service.head(key), undefined)
        }
      },
    },
    {
      title: 'head() returns the size, the time by the service clock, and empty metadata by default',
      async run({ service }) {
        const before = Date.now()
        await put(service, 'a', 'abc')
        const found = await service.head('a')
        assert.equal(found?.size, 3)
        assert.deepEqual(found.metadata, {})
        // Whole seconds may be rounded either way; the service runs on this machine.
        assert.ok(found.modified > before - 2000 && found.modified < Date.now() + 2000)
      },
    },
    {
      title: 'read() returns the bytes from first to last, inclusive',
      async run({ service }) {
        const bytes = noise(3_000_000)
        await service.put(oddKey, [bytes])
        const ranges = [
          [0, 0],
          [0, 2_999_999],
          [1, 1],
          [999_999, 2_000_000],
          [2_999_999, 2_999_999],
        ] as const
        for (const [first, last] of ranges) {
          assertBytes(await bytesOf(service.read(oddKey, first, last)), bytes.subarray(first, last + 1))
        }
      },
    },
    {
      title: 'read() sends its request when the stream is read, not before',
      async run({ service }) {
        const stream = service.read('a', 1, 2)
        await put(service, 'a', 'abc')
        assert.equal((await bytesOf(stream)).toString(), 'bc')
      },
    },
    {
      title: 'read() of a missing object fails when the stream is read, not before',
      async run({ service }) {
        const failed: unknown[] = []
        const stream = service.read('a', 0, 9).on('error', (error) => failed.push(error))
        assert.equal(await service.head('a'), undefined)
        assert.deepEqual(failed, [])
        await assert.rejects(bytesOf(stream), { name: 'ObjectMissing' })
      },
    },
    {
      title: 'read() can be destroyed before it starts and in the middle',
      async run({ service }) {
        await service.put('a', [noise(5_000_000)])
        const unread = service.read('a', 0, 4_999_999)
        unread.destroy()
        await once(unread, 'close')
        const started = service.read('a', 0, 4_999_999)
        await once(started, 'readable')
        started.destroy()
        await once(started, 'close')
        for (const stream of [unread, started]) assert.equal(stream.errored, null)
      },
    },
    {
      title: 'read() supports 20 concurrent streams of one object',
      async run({ service }) {
        const bytes = noise(1_000_000)
        await service.put('a', [bytes])
        const streams = Array.from({ length: 20 }, (_, i) => service.read('a', i, 999_999))
        const read = await Promise.all(streams.map(bytesOf))
        for (const [i, one] of read.entries()) assertBytes(one, bytes.subarray(i))
      },
    },
    {
      title: 'get() and head() reject when the signal is already aborted',
      async run({ service }) {
        await put(service, 'a')
        await assert.rejects(service.get('a', { signal: aborted() }))
        await assert.rejects(service.head('a', { signal: aborted() }))
      },
    },
  ],
}

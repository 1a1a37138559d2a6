import assert from 'node:assert/strict'
import type {
  ComposeSource,
  FoundObject,
  ObjectService,
} from '../../../../../lib/stores/object/service/service.ts'
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

interface Joinable {
  readonly sources: readonly ComposeSource[]
  readonly bytes: Buffer
}

/** Writes sources, all but the last as small as they may be. */
async function sourcesIn(space: ObjectService, folder: string, count: number, last = 10): Promise<Joinable> {
  const size = Math.max(space.minSource, 1000)
  const bytes = noise((count - 1) * size + last, folder.length)
  const sources: ComposeSource[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    const source = { key: `${folder}/${sources.length}`, size: part.length }
    await space.put(source.key, [part])
    sources.push(source)
  }
  return { sources, bytes }
}

export const joining: Chapter = {
  name: 'join() and abandon()',
  cases: [
    {
      title: 'minSource is at most 8 MiB, and maxSources at least 1000',
      async run({ space }) {
        assert.ok(space.minSource >= 0 && space.minSource <= 8 * 2 ** 20)
        assert.ok(space.maxSources >= 1000)
      },
    },
    {
      title: 'join() creates one object from several, and keeps the sources',
      async run({ space, contentType }) {
        const { sources, bytes } = await sourcesIn(space, 's', 3)
        const description = { contentType: 'text/plain', metadata: { owner: 'Zoë' } }
        await space.compose(sources, 'joined', { description })
        assertBytes((await space.get('joined'))?.bytes, bytes)
        const found = await space.head('joined')
        assert.equal(found?.size, bytes.length)
        assert.deepEqual(found.metadata, { owner: 'Zoë' })
        assert.equal(await contentType('joined'), 'text/plain')
        assert.deepEqual(await keysOf(space), ['joined', 's/0', 's/1', 's/2'])
      },
    },
    {
      title: 'join() of one source uses the given description, or none',
      async run({ space, contentType }) {
        const old = { contentType: 'text/html', metadata: { old: '1' } }
        await space.put('s', [Buffer.from('abc')], { description: old })
        const description = { contentType: 'text/plain', metadata: { owner: 'Zoë' } }
        await space.compose([{ key: 's', size: 3 }], 'joined', { description })
        assert.equal(await textOf(space, 'joined'), 'abc')
        assert.deepEqual((await space.head('joined'))?.metadata, { owner: 'Zoë' })
        assert.equal(await contentType('joined'), 'text/plain')
        await space.compose([{ key: 's', size: 3 }], 'plain')
        assert.deepEqual((await space.head('plain'))?.metadata, {})
      },
    },
    {
      title: 'join() and abandon() accept special characters in keys',
      async run({ space, below, keeps }) {
        const odd = below(keeps.percent ? 'ö+%2F &/' : 'ö+2F &/')
        const folder = keeps.percent ? oddKey : oddKey.replaceAll('%', '')
        const { sources, bytes } = await sourcesIn(odd, folder, 2)
        await odd.compose(sources, `joined/${oddKey}`)
        assertBytes((await odd.get(`joined/${oddKey}`))?.bytes, bytes)
        await put(odd, oddKey, 'abc')
        await odd.compose([{ key: oddKey, size: 3 }], `one/${oddKey}`)
        assert.equal(await textOf(odd, `one/${oddKey}`), 'abc')
        await odd.abortUploads('joined/')
        assert.equal((await keysOf(space)).length, 5)
      },
    },
    {
      title: 'join() replaces an existing object when it has no condition',
      async run({ space }) {
        const { sources, bytes } = await sourcesIn(space, 's', 2)
        await put(space, 'joined', 'old')
        await space.compose(sources, 'joined')
        assertBytes((await space.get('joined'))?.bytes, bytes)
        await space.compose(sources.slice(1), 'joined')
        assertBytes((await space.get('joined'))?.bytes, bytes.subarray(-10))
      },
    },
    {
      title: 'join() with condition absent: writes only when no object exists',
      async run({ space }) {
        const { sources } = await sourcesIn(space, 's', 2)
        for (const some of [sources, sources.slice(1)]) {
          const key = `${some.length}`
          await put(space, 'taken', 'old')
          await assertConditionFailed(space.compose(some, 'taken', { condition: 'absent' }))
          assert.equal(await textOf(space, 'taken'), 'old')
          await space.compose(some, key, { condition: 'absent' })
          await assertConditionFailed(space.compose(some, key, { condition: 'absent' }))
        }
      },
    },
    {
      title: 'join() with a version: writes only over that version',
      async run({ space }) {
        const { sources, bytes } = await sourcesIn(space, 's', 2)
        for (const some of [sources, sources.slice(1)]) {
          await space.remove(['a'])
          const version = await put(space, 'a', 'old')
          await assertConditionFailed(space.compose(some, 'missing', { condition: { version } }))
          await space.compose(some, 'a', { condition: { version } })
          await assertConditionFailed(space.compose(some, 'a', { condition: { version } }))
          const size = some.reduce((sum, source) => sum + source.size, 0)
          assertBytes((await space.get('a'))?.bytes, bytes.subarray(-size))
          assert.equal(await space.head('missing'), undefined)
        }
      },
    },
    {
      title: 'join() with condition absent: one of 5 concurrent calls succeeds, where supported',
      async run({ space, keeps }) {
        const { sources, bytes } = await sourcesIn(space, 's', 2)
        const join = (): Promise<void> => space.compose(sources, 'joined', { condition: 'absent' })
        if (keeps.join) await winnerOf(5, join)
        else await join()
        assertBytes((await space.get('joined'))?.bytes, bytes)
      },
    },
    {
      title: 'join() makes the object visible only when it is complete',
      async run({ space }) {
        const { sources, bytes } = await sourcesIn(space, 's', 3)
        const seen: (FoundObject | undefined)[] = []
        let joined = false
        const looking = async (): Promise<void> => {
          while (!joined) seen.push(await space.head('joined'))
        }
        const look = looking()
        await space.compose(sources, 'joined').finally(() => {
          joined = true
        })
        await look
        for (const found of seen) if (found) assert.equal(found.size, bytes.length)
      },
    },
    {
      title: 'join() rejects with ObjectMissing when a source is missing, and writes nothing',
      async run({ space }) {
        const { sources } = await sourcesIn(space, 's', 2)
        const [first, last] = sources as [ComposeSource, ComposeSource]
        const missing = { key: 'nowhere', size: space.minSource }
        for (const some of [[missing], [missing, last], [first, missing], [first, missing, last]]) {
          await assert.rejects(space.compose(some, 'joined'), { name: 'ObjectMissing' })
          assert.equal(await space.head('joined'), undefined)
        }
      },
    },
    {
      title: 'join() and abandon() reject when the signal is already aborted',
      async run({ space }) {
        const { sources } = await sourcesIn(space, 's', 2)
        for (const some of [sources, sources.slice(1)]) {
          await assert.rejects(space.compose(some, 'joined', { signal: aborted() }))
          assert.equal(await space.head('joined'), undefined)
        }
        await assert.rejects(space.abortUploads('', { signal: aborted() }))
      },
    },
    {
      title: 'abandon() keeps the joined object and its sources',
      async run({ space }) {
        const { sources, bytes } = await sourcesIn(space, 's', 2)
        await space.compose(sources, 'joined')
        await space.abortUploads('')
        await space.abortUploads('joined')
        assertBytes((await space.get('joined'))?.bytes, bytes)
        assert.deepEqual(await keysOf(space), ['joined', 's/0', 's/1'])
      },
    },
  ],
}

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
  keysOf,
  oddKey,
  put,
  type Section,
  textOf,
  winnerOf,
} from './fixture.ts'

interface ComposeInput {
  readonly sources: readonly ComposeSource[]
  readonly bytes: Buffer
}

/** Writes sources of the smallest allowed size, and a last one of `last` bytes. */
async function sourcesIn(
  service: ObjectService,
  folder: string,
  count: number,
  last = 10,
): Promise<ComposeInput> {
  const size = Math.max(service.minSourceBytes, 1000)
  const bytes = noise((count - 1) * size + last, folder.length)
  const sources: ComposeSource[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    const source = { key: `${folder}/${sources.length}`, size: part.length }
    await service.put(source.key, [part])
    sources.push(source)
  }
  return { sources, bytes }
}

export const composeSection: Section = {
  name: 'compose() and abortUploads()',
  tests: [
    {
      title: 'minSourceBytes is at most 8 MiB, and maxSources at least 1000',
      async run({ service }) {
        assert.ok(service.minSourceBytes >= 0 && service.minSourceBytes <= 8 * 2 ** 20)
        assert.ok(service.maxSources >= 1000)
      },
    },
    {
      title: 'compose() creates one object from several, and keeps the sources',
      async run({ service, contentType }) {
        const { sources, bytes } = await sourcesIn(service, 's', 3)
        const attributes = { contentType: 'text/plain', metadata: { owner: 'Zoë' } }
        await service.compose(sources, 'composed', { attributes })
        assertBytes((await service.get('composed'))?.bytes, bytes)
        const found = await service.head('composed')
        assert.equal(found?.size, bytes.length)
        assert.deepEqual(found.metadata, { owner: 'Zoë' })
        assert.equal(await contentType('composed'), 'text/plain')
        assert.deepEqual(await keysOf(service), ['composed', 's/0', 's/1', 's/2'])
      },
    },
    {
      title: 'compose() of one source has the given attributes, or none',
      async run({ service, contentType }) {
        const old = { contentType: 'text/html', metadata: { old: '1' } }
        await service.put('s', [Buffer.from('abc')], { attributes: old })
        const attributes = { contentType: 'text/plain', metadata: { owner: 'Zoë' } }
        await service.compose([{ key: 's', size: 3 }], 'composed', { attributes })
        assert.equal(await textOf(service, 'composed'), 'abc')
        assert.deepEqual((await service.head('composed'))?.metadata, { owner: 'Zoë' })
        assert.equal(await contentType('composed'), 'text/plain')
        await service.compose([{ key: 's', size: 3 }], 'plain')
        assert.deepEqual((await service.head('plain'))?.metadata, {})
      },
    },
    {
      title: 'compose() and abortUploads() accept special characters in keys',
      async run({ service, below, supports }) {
        const odd = below(supports.percentInSources ? 'ö+%2F &/' : 'ö+2F &/')
        const folder = supports.percentInSources ? oddKey : oddKey.replaceAll('%', '')
        const { sources, bytes } = await sourcesIn(odd, folder, 2)
        await odd.compose(sources, `composed/${oddKey}`)
        assertBytes((await odd.get(`composed/${oddKey}`))?.bytes, bytes)
        await put(odd, oddKey, 'abc')
        await odd.compose([{ key: oddKey, size: 3 }], `one/${oddKey}`)
        assert.equal(await textOf(odd, `one/${oddKey}`), 'abc')
        await odd.abortUploads('composed/')
        assert.equal((await keysOf(service)).length, 5)
      },
    },
    {
      title: 'compose() replaces an existing object when it has no condition',
      async run({ service }) {
        const { sources, bytes } = await sourcesIn(service, 's', 2)
        await put(service, 'composed', 'old')
        await service.compose(sources, 'composed')
        assertBytes((await service.get('composed'))?.bytes, bytes)
        await service.compose(sources.slice(1), 'composed')
        assertBytes((await service.get('composed'))?.bytes, bytes.subarray(-10))
      },
    },
    {
      title: 'compose() with condition absent: writes only when no object exists',
      async run({ service }) {
        const { sources } = await sourcesIn(service, 's', 2)
        for (const input of [sources, sources.slice(1)]) {
          const key = `${input.length}`
          await put(service, 'taken', 'old')
          await assertConditionFailed(service.compose(input, 'taken', { condition: 'absent' }))
          assert.equal(await textOf(service, 'taken'), 'old')
          await service.compose(input, key, { condition: 'absent' })
          await assertConditionFailed(service.compose(input, key, { condition: 'absent' }))
        }
      },
    },
    {
      title: 'compose() with a version: writes only over that version',
      async run({ service }) {
        const { sources, bytes } = await sourcesIn(service, 's', 2)
        for (const input of [sources, sources.slice(1)]) {
          await service.remove(['a'])
          const version = await put(service, 'a', 'old')
          await assertConditionFailed(service.compose(input, 'missing', { condition: { version } }))
          await service.compose(input, 'a', { condition: { version } })
          await assertConditionFailed(service.compose(input, 'a', { condition: { version } }))
          const size = input.reduce((sum, source) => sum + source.size, 0)
          assertBytes((await service.get('a'))?.bytes, bytes.subarray(-size))
          assert.equal(await service.head('missing'), undefined)
        }
      },
    },
    {
      title: 'compose() with condition absent: one of 5 concurrent calls succeeds, where supported',
      async run({ service, supports }) {
        const { sources, bytes } = await sourcesIn(service, 's', 2)
        const compose = (): Promise<void> => service.compose(sources, 'composed', { condition: 'absent' })
        if (supports.conditionalCompose) await winnerOf(5, compose)
        else await compose()
        assertBytes((await service.get('composed'))?.bytes, bytes)
      },
    },
    {
      title: 'compose() makes the object visible only when it is complete',
      async run({ service }) {
        const { sources, bytes } = await sourcesIn(service, 's', 3)
        const seen: (FoundObject | undefined)[] = []
        let isComposed = false
        const poll = async (): Promise<void> => {
          while (!isComposed) seen.push(await service.head('composed'))
        }
        const polling = poll()
        await service.compose(sources, 'composed').finally(() => {
          isComposed = true
        })
        await polling
        for (const found of seen) if (found) assert.equal(found.size, bytes.length)
      },
    },
    {
      title: 'compose() rejects with ObjectMissing when a source is missing, and writes nothing',
      async run({ service }) {
        const { sources } = await sourcesIn(service, 's', 2)
        const [first, last] = sources as [ComposeSource, ComposeSource]
        const missing = { key: 'nowhere', size: service.minSourceBytes }
        for (const input of [[missing], [missing, last], [first, missing], [first, missing, last]]) {
          await assert.rejects(service.compose(input, 'composed'), { name: 'ObjectMissing' })
          assert.equal(await service.head('composed'), undefined)
        }
      },
    },
    {
      title: 'compose() and abortUploads() reject when the signal is already aborted',
      async run({ service }) {
        const { sources } = await sourcesIn(service, 's', 2)
        for (const input of [sources, sources.slice(1)]) {
          await assert.rejects(service.compose(input, 'composed', { signal: aborted() }))
          assert.equal(await service.head('composed'), undefined)
        }
        await assert.rejects(service.abortUploads('', { signal: aborted() }))
      },
    },
    {
      title: 'abortUploads() keeps the composed object and its sources',
      async run({ service }) {
        const { sources, bytes } = await sourcesIn(service, 's', 2)
        await service.compose(sources, 'composed')
        await service.abortUploads('')
        await service.abortUploads('composed')
        assertBytes((await service.get('composed'))?.bytes, bytes)
        assert.deepEqual(await keysOf(service), ['composed', 's/0', 's/1'])
      },
    },
  ],
}

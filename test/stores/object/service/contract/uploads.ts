import assert from 'node:assert/strict'
import type {
  CreatedUpload,
  ObjectAttributes,
  ObjectService,
} from '../../../../../lib/stores/object/service/service.ts'
import { noise } from '../../../../support/bytes.ts'
import {
  aborted,
  all,
  assertBytes,
  assertConditionFailed,
  keysOf,
  oddKey,
  put,
  type Section,
  textOf,
} from './fixture.ts'

const assertUploadMissing = (call: Promise<unknown>): Promise<void> =>
  assert.rejects(call, { name: 'UploadMissing' })

const assertPartsChanged = (call: Promise<unknown>): Promise<void> =>
  assert.rejects(call, { name: 'PartsChanged' })

/** Writes one part. */
const putPart = (service: ObjectService, key: string, upload: string, number: number, bytes: Uint8Array) =>
  service.putPart(key, { upload, number }, [bytes])

/** Begins an upload and writes its parts. */
async function uploadOf(
  service: ObjectService,
  key: string,
  ...parts: readonly (string | Uint8Array)[]
): Promise<CreatedUpload & { readonly tags: string[] }> {
  const created = await service.createUpload(key)
  const tags: string[] = []
  for (const [i, part] of parts.entries())
    tags.push(await putPart(service, key, created.id, i + 1, Buffer.from(part)))
  return { ...created, tags }
}

/** The keys of the uploads that a service lists. */
const uploadKeysOf = async (service: ObjectService, prefix = ''): Promise<string[]> =>
  (await all(service.listUploads(prefix))).map(({ key }) => key).sort()

/** The bytes of an object of three parts, and its parts. */
function threeParts(service: ObjectService): { bytes: Buffer; parts: [Buffer, Buffer, Buffer] } {
  const size = service.minPartBytes
  const bytes = noise(2 * size + 10)
  return { bytes, parts: [bytes.subarray(0, size), bytes.subarray(size, 2 * size), bytes.subarray(2 * size)] }
}

const attributes: ObjectAttributes = { contentType: 'text/plain', metadata: { owner: 'Zoë', session: '{1}' } }

export const uploadSection: Section = {
  name: 'createUpload(), putPart() and completeUpload()',
  tests: [
    {
      title: 'the limits of parts suffice for files of 48 GiB, and checksCompletion is as expected',
      async run({ service, supports }) {
        assert.ok(service.minPartBytes >= 1 && service.minPartBytes <= 5 * 2 ** 20)
        assert.ok(service.maxParts >= 10_000)
        assert.equal(service.equalParts, false)
        assert.equal(service.checksCompletion, supports.checksCompletion)
      },
    },
    {
      title: 'write an object with its attributes, which is visible only when it is complete',
      async run({ service, contentType }) {
        const { bytes, parts } = threeParts(service)
        const { id, isRepeated } = await service.createUpload('a', { attributes })
        assert.match(id, /^[\x21-\x7e]{1,512}$/)
        assert.equal(isRepeated, false)
        const tags: string[] = []
        for (const [i, part] of parts.entries()) tags.push(await putPart(service, 'a', id, i + 1, part))
        for (const tag of tags) assert.match(tag, /^[\x21-\x7e]{1,64}$/)
        assert.equal(await service.head('a'), undefined)
        assert.deepEqual(await keysOf(service), [])
        await service.completeUpload('a', id, tags, { attributes })
        assertBytes((await service.get('a'))?.bytes, bytes)
        assert.deepEqual((await service.head('a'))?.metadata, attributes.metadata)
        assert.equal(await contentType('a'), attributes.contentType)
        assert.deepEqual(await keysOf(service), ['a'])
      },
    },
    {
      title: 'accept the parts in any order, and several chunks',
      async run({ service }) {
        const { bytes, parts } = threeParts(service)
        const { id } = await service.createUpload('a')
        const tags: string[] = []
        await Promise.all(
          [2, 0, 1].map(async (i) => {
            const part = parts[i] as Buffer
            // A view of a part of a buffer, and not a Buffer.
            const view = new Uint8Array(part.buffer, part.byteOffset + 3, part.length - 3)
            const chunks = [part.subarray(0, 3), new Uint8Array(0), view]
            tags[i] = await service.putPart('a', { upload: id, number: i + 1 }, chunks)
          }),
        )
        await service.completeUpload('a', id, tags)
        assertBytes((await service.get('a'))?.bytes, bytes)
        assert.deepEqual((await service.head('a'))?.metadata, {})
      },
    },
    {
      title: 'accept one small part, and special characters in keys',
      async run({ service, below }) {
        const odd = below('ö+%2F &/')
        const { id, tags } = await uploadOf(odd, oddKey, 'abc')
        if (service.keepsUploads) {
          assert.deepEqual(await uploadKeysOf(odd), [oddKey])
          assert.deepEqual(await odd.listParts(oddKey, id), tags)
        }
        await odd.completeUpload(oddKey, id, tags, { condition: 'absent' })
        assert.equal(await textOf(odd, oddKey), 'abc')
        assert.deepEqual(await keysOf(service), [`ö+%2F &/${oddKey}`])
        const other = await uploadOf(odd, oddKey, 'def')
        await odd.abortUpload(oddKey, other.id)
        assert.deepEqual(await uploadKeysOf(odd), [])
      },
    },
    {
      title: 'replace an object when there is no condition',
      async run({ service }) {
        await put(service, 'a', 'old')
        const { id, tags } = await uploadOf(service, 'a', 'new')
        await service.completeUpload('a', id, tags)
        assert.equal(await textOf(service, 'a'), 'new')
      },
    },
    {
      title: 'work again for the same key after the object was removed',
      async run({ service }) {
        for (const text of ['first', 'second']) {
          const { id, tags } = await uploadOf(service, 'a', text)
          await service.completeUpload('a', id, tags, { condition: 'absent' })
          assert.equal(await textOf(service, 'a'), text)
          await service.remove(['a'])
        }
      },
    },
    {
      title: 'keep uploads of one key apart',
      async run({ service }) {
        const one = await uploadOf(service, 'a', 'one')
        const two = await uploadOf(service, 'a', 'two')
        await service.completeUpload('a', two.id, two.tags)
        assert.equal(await textOf(service, 'a'), 'two')
        const completing = service.completeUpload('a', one.id, one.tags)
        if (!service.keepsUploads) return assertUploadMissing(completing)
        await completing
        assert.equal(await textOf(service, 'a'), 'one')
      },
    },
    {
      title: 'reject with UploadMissing after a put() of the key, without keepsUploads only',
      async run({ service, supports }) {
        if (!service.keepsUploads && !supports.discardsParts) return
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        await put(service, 'a', 'other')
        const completing = service.completeUpload('a', id, tags)
        if (!service.keepsUploads) await assertUploadMissing(completing)
        else await completing
        assert.equal(await textOf(service, 'a'), service.keepsUploads ? 'abc' : 'other')
      },
    },
    {
      title: 'replace a part by a later one with the same number, with keepsUploads only',
      async run({ service }) {
        if (!service.keepsUploads) return
        const { bytes, parts } = threeParts(service)
        const { id, tags } = await uploadOf(service, 'a', noise(service.minPartBytes, 2), ...parts.slice(1))
        const replaced = [...tags]
        tags[0] = await putPart(service, 'a', id, 1, parts[0])
        await assertPartsChanged(service.completeUpload('a', id, replaced))
        assert.equal(await service.head('a'), undefined)
        assert.deepEqual(await service.listParts('a', id), tags)
        await service.completeUpload('a', id, tags)
        assertBytes((await service.get('a'))?.bytes, bytes)
      },
    },
    {
      title: 'reject with PartsChanged when a part is missing, with keepsUploads only',
      async run({ service }) {
        if (!service.keepsUploads) return
        const { id } = await service.createUpload('a')
        const tag = await putPart(service, 'a', id, 2, Buffer.from('abc'))
        await assertPartsChanged(service.completeUpload('a', id, [tag, tag]))
        await assertPartsChanged(service.completeUpload('a', id, [tag]))
      },
    },
    {
      title: 'return the same tag for the same bytes with keepsUploads, else another one for each call',
      async run({ service }) {
        const { id, tags } = await uploadOf(service, 'a', 'same', 'same', 'other')
        tags.push(await putPart(service, 'a', id, 1, Buffer.from('same')))
        assert.equal(new Set(tags).size, service.keepsUploads ? 2 : 4)
        assert.notEqual(tags[1], tags[2])
      },
    },
    {
      title: 'leave out the parts that a completion does not name, where supported',
      async run({ service, supports }) {
        const { id, tags } = await uploadOf(service, 'a', 'one', 'two')
        const completing = service.completeUpload('a', id, tags.slice(0, 1))
        if (!supports.unnamedParts) return assertPartsChanged(completing)
        await completing
        assert.equal(await textOf(service, 'a'), 'one')
        assert.deepEqual(await uploadKeysOf(service), [])
      },
    },
    {
      title: 'reject with UploadMissing when the upload is unknown, aborted, or of another key',
      async run({ service }) {
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        await assertUploadMissing(service.completeUpload('a', 'unknownunknown1234', tags))
        await assertUploadMissing(service.completeUpload('b', id, tags))
        if (!service.keepsUploads) return
        await assertUploadMissing(putPart(service, 'a', 'unknownunknown1234', 1, Buffer.from('abc')))
        await service.abortUpload('a', id)
        await assertUploadMissing(putPart(service, 'a', id, 1, Buffer.from('abc')))
        await assertUploadMissing(service.completeUpload('a', id, tags))
        assert.deepEqual(await keysOf(service), [])
      },
    },
    {
      title: 'complete an upload once',
      async run({ service }) {
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        await service.completeUpload('a', id, tags, { condition: 'absent' })
        // Ceph resolves as long as the object exists.
        await service.completeUpload('a', id, tags, { condition: 'absent' }).catch(({ name }) => {
          assert.ok(['UploadMissing', 'ConditionFailed'].includes(name), name)
        })
        await put(service, 'a', 'other')
        await service.completeUpload('a', id, tags, { condition: 'absent' }).catch(({ name }) => {
          assert.ok(['UploadMissing', 'ConditionFailed'].includes(name), name)
        })
        assert.equal(await textOf(service, 'a'), 'other')
        await service.remove(['a'])
        await assertUploadMissing(service.completeUpload('a', id, tags, { condition: 'absent' }))
        await assertUploadMissing(service.completeUpload('a', id, tags))
        if (service.keepsUploads) await assertUploadMissing(putPart(service, 'a', id, 1, Buffer.from('abc')))
        assert.deepEqual(await keysOf(service), [])
      },
    },
    {
      title: 'write nothing when the signal is already aborted',
      async run({ service }) {
        const options = { signal: aborted() }
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        await put(service, 's')
        const part = { upload: id, number: 1 }
        await assert.rejects(service.createUpload('b', options))
        await assert.rejects(service.putPart('a', part, [Buffer.from('def')], options))
        await assert.rejects(service.copyPart('a', part, { key: 's', size: 1 }, options))
        await assert.rejects(service.completeUpload('a', id, tags, options))
        await assert.rejects(service.abortUpload('a', id, options))
        await assert.rejects(service.listParts('a', id, options))
        await assert.rejects(all(service.listUploads('', options)))
        await service.completeUpload('a', id, tags)
        assert.equal(await textOf(service, 'a'), 'abc')
        assert.deepEqual(await uploadKeysOf(service), [])
      },
    },
  ],
}

export const completionSection: Section = {
  name: 'completeUpload() with a condition, where the service checks it',
  tests: [
    {
      title: 'absent: writes only when no object exists, and the upload can be completed later',
      async run({ service, supports }) {
        if (!supports.checksCompletion) return
        await put(service, 'a', 'old')
        const { id, tags } = await uploadOf(service, 'a', 'new')
        await assertConditionFailed(service.completeUpload('a', id, tags, { condition: 'absent' }))
        assert.equal(await textOf(service, 'a'), 'old')
        const version = (await service.head('a'))?.version ?? ''
        await service.completeUpload('a', id, tags, { condition: { version } })
        assert.equal(await textOf(service, 'a'), 'new')
      },
    },
    {
      title: 'version: writes only over that version',
      async run({ service, supports }) {
        if (!supports.checksCompletion) return
        const first = await put(service, 'a', 'first')
        const second = await put(service, 'a', 'second')
        const { id, tags } = await uploadOf(service, 'a', 'third')
        const complete = (version: string) =>
          service.completeUpload('a', id, tags, { condition: { version }, attributes })
        await assertConditionFailed(complete(first))
        assert.equal(await textOf(service, 'a'), 'second')
        await complete(second)
        assert.equal(await textOf(service, 'a'), 'third')
        await assert.rejects(complete(second), ({ name }) =>
          ['UploadMissing', 'ConditionFailed'].includes(name),
        )
        const next = await uploadOf(service, 'missing', 'abc')
        const completing = service.completeUpload('missing', next.id, next.tags, {
          condition: { version: first },
        })
        await assertConditionFailed(completing)
        assert.equal(await service.head('missing'), undefined)
      },
    },
    {
      title: 'version: accepts the version of an object that was written in parts',
      async run({ service, supports }) {
        if (!supports.checksCompletion) return
        for (const text of ['first', 'second', 'third']) {
          const version = (await service.head('a'))?.version
          const { id, tags } = await uploadOf(service, 'a', text)
          await service.completeUpload('a', id, tags, { condition: version ? { version } : 'absent' })
          assert.equal(await textOf(service, 'a'), text)
        }
      },
    },
    {
      title: 'absent: one of 5 concurrent uploads of a key is completed',
      async run({ service, supports }) {
        if (!supports.checksCompletion) return
        const uploads = []
        for (let i = 0; i < 5; i += 1) uploads.push(await uploadOf(service, 'a', `I am ${i}`))
        const results = await Promise.allSettled(
          uploads.map(({ id, tags }) => service.completeUpload('a', id, tags, { condition: 'absent' })),
        )
        const winners = results.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []))
        assert.equal(winners.length, 1)
        for (const result of results) {
          if (result.status === 'fulfilled') continue
          assert.ok(['UploadMissing', 'ConditionFailed'].includes(result.reason.name), result.reason)
        }
        assert.equal(await textOf(service, 'a'), `I am ${winners[0]}`)
      },
    },
    {
      title: 'absent: one of 5 concurrent completions of an upload succeeds',
      async run({ service, supports }) {
        if (!supports.checksCompletion) return
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        const complete = () => service.completeUpload('a', id, tags, { condition: 'absent' })
        const results = await Promise.allSettled(Array.from({ length: 5 }, complete))
        assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
        assert.equal(await textOf(service, 'a'), 'abc')
      },
    },
  ],
}

export const partSection: Section = {
  name: 'copyPart(), listParts(), abortUpload() and listUploads()',
  tests: [
    {
      title: 'copyPart() writes the bytes of an object as a part, between others',
      async run({ service, supports }) {
        const { bytes, parts } = threeParts(service)
        const source = supports.percentInSources ? oddKey : oddKey.replaceAll('%', '')
        await service.put(source, [parts[1]])
        await service.put('last', [parts[2]])
        const { id, tags } = await uploadOf(service, 'a', parts[0])
        const copy = (number: number, key: string, { length }: Buffer) =>
          service.copyPart('a', { upload: id, number }, { key, size: length })
        tags.push(await copy(2, source, parts[1]), await copy(3, 'last', parts[2]))
        for (const tag of tags) assert.match(tag, /^[\x21-\x7e]{1,64}$/)
        if (service.keepsUploads) assert.deepEqual(await service.listParts('a', id), tags)
        await service.completeUpload('a', id, tags)
        assertBytes((await service.get('a'))?.bytes, bytes)
        assert.deepEqual(await keysOf(service), ['a', 'last', source])
      },
    },
    {
      title:
        'copyPart() rejects with ObjectMissing when the source is missing, and the upload can be completed',
      async run({ service }) {
        const { id, tags } = await uploadOf(service, 'a', 'abc')
        const missing = { key: 'nowhere', size: 3 }
        await assert.rejects(service.copyPart('a', { upload: id, number: 2 }, missing), {
          name: 'ObjectMissing',
        })
        await service.completeUpload('a', id, tags)
        assert.equal(await textOf(service, 'a'), 'abc')
      },
    },
    {
      title: 'copyPart() rejects with UploadMissing when the upload is missing, with keepsUploads only',
      async run({ service }) {
        if (!service.keepsUploads) return
        await put(service, 's', 'abc')
        const { id } = await service.createUpload('a')
        await service.abortUpload('a', id)
        await assertUploadMissing(service.copyPart('a', { upload: id, number: 1 }, { key: 's', size: 3 }))
      },
    },
    {
      title: 'listParts() returns tags by number, with gaps, and undefined for a missing upload',
      async run({ service }) {
        if (!service.keepsUploads) {
          await assert.rejects(service.listParts('a', 'b'), Error)
          return
        }
        const { id } = await service.createUpload('a')
        assert.deepEqual(await service.listParts('a', id), [])
        const fourth = await putPart(service, 'a', id, 4, Buffer.from('four'))
        const second = await putPart(service, 'a', id, 2, Buffer.from('two'))
        assert.deepEqual(await service.listParts('a', id), [undefined, second, undefined, fourth])
        await service.abortUpload('a', id)
        assert.equal(await service.listParts('a', id), undefined)
        assert.equal(await service.listParts('a', 'unknownunknown1234'), undefined)
      },
    },
    {
      title: 'listParts() returns more than 1,000 parts',
      isLong: true,
      async run({ service }) {
        if (!service.keepsUploads) return
        const { id } = await service.createUpload('a')
        const tags: string[] = []
        const numbers = Array.from({ length: 1_010 }, (_, i) => i + 1).values()
        const worker = async (): Promise<void> => {
          for (const number of numbers)
            tags[number - 1] = await putPart(service, 'a', id, number, Buffer.from(`${number}`))
        }
        await Promise.all(Array.from({ length: 16 }, worker))
        assert.deepEqual(await service.listParts('a', id), tags)
        await service.abortUpload('a', id)
      },
    },
    {
      title: 'abortUpload() ignores a missing upload, and keeps objects and other uploads',
      async run({ service }) {
        await put(service, 'a', 'old')
        const one = await uploadOf(service, 'a', 'one')
        const two = await uploadOf(service, 'a', 'two')
        await service.abortUpload('a', one.id)
        await service.abortUpload('a', one.id)
        await service.abortUpload('a', 'unknownunknown1234')
        assert.equal(await textOf(service, 'a'), 'old')
        await service.completeUpload('a', two.id, two.tags)
        await service.abortUpload('a', two.id)
        assert.equal(await textOf(service, 'a'), 'two')
      },
    },
    {
      title: 'listUploads() returns uploads in progress whose keys begin with the prefix',
      async run({ service, below }) {
        const before = Date.now()
        for (const key of ['log', 'log', 'log.txt', 'log/1', 'other']) await uploadOf(service, key, 'abc')
        const { id, tags } = await uploadOf(service, 'log/completed', 'abc')
        await service.completeUpload('log/completed', id, tags)
        const ended = await uploadOf(service, 'log/aborted')
        await service.abortUpload('log/aborted', ended.id)
        const isKept = service.keepsUploads
        assert.deepEqual(await uploadKeysOf(service, 'log/'), isKept ? ['log/1'] : [])
        assert.deepEqual(await uploadKeysOf(service, 'log'), isKept ? ['log', 'log', 'log.txt', 'log/1'] : [])
        assert.deepEqual(await uploadKeysOf(below('log/')), isKept ? ['1'] : [])
        const found = await all(service.listUploads(''))
        assert.equal(found.length, isKept ? 5 : 0)
        for (const { key, id, created } of found) {
          // Times of some services are in seconds.
          assert.ok(created > before - 2_000 && created < Date.now() + 2_000)
          await service.abortUpload(key, id)
        }
        assert.deepEqual(await uploadKeysOf(service), [])
      },
    },
  ],
}

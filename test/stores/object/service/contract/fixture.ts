import assert from 'node:assert/strict'
import type { Readable } from 'node:stream'
import type { ObjectService } from '../../../../../lib/stores/object/service/service.ts'

/** An empty service, and what a test needs besides its interface. */
export interface ServiceFixture {
  readonly service: ObjectService
  /** Another service in the same bucket, with the prefix of `service` and this one behind it. */
  below(prefix: string): ObjectService
  /** The media type of an object of `service`, as other readers of the bucket see it. */
  contentType(key: string): Promise<string | undefined>
}

/** Features that some services lack. */
export interface ServiceCapabilities {
  /** The key of a source of `copyPart()` may have a percent sign. */
  readonly percentInSources: boolean
  /** `completeUpload()` checks its condition. */
  readonly checksCompletion: boolean
  /** `completeUpload()` ignores parts whose numbers are above those that it names. */
  readonly unnamedParts: boolean
  /** Without `keepsUploads`, a `put()` discards the parts of uploads of its key, as Microsoft documents. */
  readonly discardsParts: boolean
}

export interface TestFixture extends ServiceFixture {
  readonly supports: ServiceCapabilities
}

/** A test of one rule of the contract. */
export interface ServiceTest {
  readonly title: string
  /** Writes more than 1,000 objects, which takes some services ten seconds. */
  readonly isLong?: true
  readonly run: (fixture: TestFixture) => Promise<void>
}

/** The tests of one method. */
export interface Section {
  readonly name: string
  readonly tests: readonly ServiceTest[]
}

/** A key with all characters that are special in URLs, XML, or the services. */
export const oddKey = 'ünï%20+ ☃/&?#\'"<>=;,!*()@:$|.bin'

/** Writes a text. */
export const put = (service: ObjectService, key: string, text = key): Promise<string> =>
  service.put(key, [Buffer.from(text)])

/** The text of an object; undefined if it does not exist. */
export const textOf = async (service: ObjectService, key: string): Promise<string | undefined> =>
  (await service.get(key))?.bytes.toString()

/** All bytes of a stream. */
export async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Compares bytes. Unlike that of assert, its message does not contain megabytes. */
export function assertBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual, 'the object does not exist')
  const { length } = actual
  if (Buffer.from(expected).equals(actual)) return
  const first = expected.findIndex((byte, i) => byte !== actual[i])
  assert.fail(`${length} bytes instead of ${expected.length}; the first difference is at ${first}`)
}

/** All items. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

/** The keys that a service lists. */
export const keysOf = async (service: ObjectService, prefix = ''): Promise<string[]> =>
  (await all(service.list(prefix))).map(({ key }) => key)

/** Checks that a call rejects because of its condition. */
export const assertConditionFailed = (call: Promise<unknown>): Promise<void> =>
  assert.rejects(call, { name: 'ConditionFailed' })

/** Makes `count` calls at the same time. Checks that one succeeds and the conditions of all others fail. */
export async function winnerOf(count: number, call: (i: number) => Promise<unknown>): Promise<number> {
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => call(i)))
  const names = results.map((result) => (result.status === 'fulfilled' ? 'won' : result.reason.name))
  assert.deepEqual(
    [...names].sort(),
    [...Array.from({ length: count - 1 }, () => 'ConditionFailed'), 'won'].sort(),
  )
  return names.indexOf('won')
}

/** A signal that is already aborted. */
export const aborted = (): AbortSignal => AbortSignal.abort(new Error('the caller gave up'))

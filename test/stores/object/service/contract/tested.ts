import assert from 'node:assert/strict'
import type { Readable } from 'node:stream'
import type { ObjectService } from '../../../../../lib/stores/object/service/service.ts'

/** A space in which there is nothing yet, and what a test has to reach beside it. */
export interface TestedSpace {
  readonly space: ObjectService
  /** Another space in the same bucket, its prefix that of `space` with this behind it. */
  below(prefix: string): ObjectService
  /** The media type that the service tells whoever asks for an object of `space`. */
  contentType(key: string): Promise<string | undefined>
}

/** What not every service does. Only what is declared `false` is not expected. */
export interface Keeps {
  /** A removal can have a condition. */
  readonly removeIf: boolean
  /** A join's condition is decided in one step with its appearance. */
  readonly join: boolean
  /** A key with a percent sign can be one of several sources. */
  readonly percent: boolean
}

export interface Setting extends TestedSpace {
  readonly keeps: Keeps
}

/** A test of one sentence of the contract. */
export interface Case {
  readonly title: string
  /** Writes more than 1,000 objects, which takes some services ten seconds. */
  readonly isLong?: true
  readonly run: (setting: Setting) => Promise<void>
}

/** The tests of one call. */
export interface Chapter {
  readonly name: string
  readonly cases: readonly Case[]
}

/** Has every character that some step between a key and the service could take for something else. */
export const oddKey = 'ünï%20+ ☃/&?#\'"<>=;,!*()@:$|.bin'

/** Writes a text. */
export const put = (space: ObjectService, key: string, text = key): Promise<string> =>
  space.put(key, [Buffer.from(text)])

/** The text of an object; undefined if there is none. */
export const textOf = async (space: ObjectService, key: string): Promise<string | undefined> =>
  (await space.get(key))?.bytes.toString()

/** All bytes of a stream. */
export async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Checks bytes, without megabytes in the message. */
export function assertBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual, 'there is nothing')
  const { length } = actual
  if (Buffer.from(expected).equals(actual)) return
  const differs = expected.findIndex((byte, at) => byte !== actual[at])
  assert.fail(`${length} bytes, of which that at ${differs} is another; ${expected.length} were expected`)
}

/** All items. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

/** The keys that a space lists. */
export const keysOf = async (space: ObjectService, prefix = ''): Promise<string[]> =>
  (await all(space.list(prefix))).map(({ key }) => key)

/** Checks that a call is refused for its condition. */
export const assertConditionFailed = (call: Promise<unknown>): Promise<void> =>
  assert.rejects(call, { name: 'ConditionFailed' })

/** Begins as many calls at once; checks that one succeeded and all others failed their condition. */
export async function winnerOf(count: number, call: (i: number) => Promise<unknown>): Promise<number> {
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => call(i)))
  const names = results.map((result) => (result.status === 'fulfilled' ? 'won' : result.reason.name))
  assert.deepEqual(
    [...names].sort(),
    [...Array.from({ length: count - 1 }, () => 'ConditionFailed'), 'won'].sort(),
  )
  return names.indexOf('won')
}

/** A signal that was given before. */
export const aborted = (): AbortSignal => AbortSignal.abort(new Error('nobody waits'))

import assert from 'node:assert/strict'
import type { Readable } from 'node:stream'
import type { BitsErrorCode } from '../protocol/errors.ts'
import { newGuid } from '../protocol/packet.ts'
import type { AppendOptions, Body, NewSession, Session, Store } from '../stores/store.ts'

/** The argument of `create()`: default values, replaced by those in `more`. */
export const newSession = (more: Partial<NewSession> = {}): NewSession => ({
  id: newGuid(),
  name: 'a.bin',
  path: '/upload/a.bin',
  url: 'http://files.example/upload/a.bin',
  maxSize: 2 ** 40,
  overwrite: false,
  created: Date.now(),
  ...more,
})

/** Creates a session and loads it. Unless `mayReadBytes` is false, a test may call `read()`. */
export async function createTestSession(
  store: Store,
  more: Partial<NewSession> = {},
  mayReadBytes = true,
): Promise<Session> {
  const session = newSession(more)
  await store.create(session, { mayReadBytes })
  return loadExisting(store, session)
}

/** Loads a session; fails if the store does not know it. */
export async function loadExisting(store: Store, { id }: { readonly id: string }): Promise<Session> {
  const session = await store.load(id)
  assert.ok(session, `load() returned undefined for ${id}`)
  return session
}

/** Loads a session, then appends to it, as a server does for a fragment. */
export async function loadAndAppend(
  store: Store,
  session: { readonly id: string },
  bytes: Body,
  options: Partial<AppendOptions> & Pick<AppendOptions, 'total'>,
): Promise<Session> {
  return store.append(await loadExisting(store, session), bytes, { durable: false, ...options })
}

/** Creates a session and appends the whole file. */
export async function createCompleteSession(
  store: Store,
  bytes: string | Uint8Array,
  more: Partial<NewSession> = {},
  mayReadBytes = true,
): Promise<Session> {
  const session = await createTestSession(store, more, mayReadBytes)
  return loadAndAppend(store, session, bodyOf(bytes), { total: Buffer.from(bytes).length, durable: true })
}

/** Loads a session, publishes it, and loads it again. */
export async function loadAndPublish(store: Store, session: { readonly id: string }): Promise<Session> {
  await store.publish(await loadExisting(store, session))
  return loadExisting(store, session)
}

/** A body that yields these batches; it throws an Error among them when it reaches it. */
export async function* bodyOf(...batches: readonly (string | Uint8Array | Error)[]) {
  for (const batch of batches) {
    if (batch instanceof Error) throw batch
    yield [Buffer.from(batch)]
  }
}

/** 32-bit big-endian numbers that count up from `start`: a missing or misplaced byte makes a difference. */
export function patternBytes(length: number, start = 0): Buffer {
  const bytes = Buffer.alloc(Math.ceil(length / 4) * 4)
  for (let at = 0; at < length; at += 4) bytes.writeUInt32BE(start + at / 4, at)
  return bytes.subarray(0, length)
}

/**
 * Waits until Date.now() changes, so that a stored time differs from the time of the call that returns it.
 */
export async function nextMillisecond(): Promise<void> {
  for (const now = Date.now(); Date.now() === now; ) await new Promise(setImmediate)
}

/** Reads a stream to its end. */
export async function readStream(stream: Readable): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The ids of all sessions that the store lists, sorted. */
export async function listIds(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list()) ids.push(id)
  return ids.sort()
}

/** Checks bytes. The message contains the offset of the first difference, not megabytes of content. */
export function assertBytes(
  actual: Uint8Array | undefined,
  expected: string | Uint8Array,
  what: string,
): void {
  assert.ok(actual, `${what}: missing`)
  const expectedBytes = Buffer.from(expected)
  if (expectedBytes.equals(actual)) return
  const differs = expectedBytes.findIndex((byte, at) => byte !== actual[at])
  assert.equal(
    differs,
    -1,
    `${what}: the byte at offset ${differs} of ${expectedBytes.length} is wrong or missing`,
  )
  assert.equal(actual.length, expectedBytes.length, `${what}: longer than expected`)
}

/** Checks `received` and the bytes that `read()` returns. */
export async function assertHeld(
  store: Store,
  session: { readonly id: string },
  expected: string | Uint8Array,
): Promise<void> {
  const now = await loadExisting(store, session)
  assert.equal(now.received, Buffer.from(expected).length, 'received')
  assertBytes(await readStream(store.read(now)), expected, 'read()')
}

/** Checks that a call rejects with a BitsError of this code. */
export const assertRejectsWith = (call: Promise<unknown>, code: BitsErrorCode): Promise<void> =>
  assert.rejects(call, { name: 'BitsError', code })

const contractFields = [
  'id',
  'name',
  'path',
  'url',
  'owner',
  'maxSize',
  'overwrite',
  'metadata',
  'created',
  'state',
  'received',
  'total',
  'decision',
  'rejection',
] as const

/** The fields of a session that are part of the contract, without `updatedAt`. */
export const publicFields = (session: Session): object =>
  Object.fromEntries(
    contractFields.filter((key) => session[key] !== undefined).map((key) => [key, session[key]]),
  )

/** Checks the fields of a session that `expected` has. */
export function assertSession(session: Session, expected: Partial<Session>): void {
  for (const [key, value] of Object.entries(expected)) {
    assert.deepEqual(session[key as keyof Session], value, key)
  }
}

import assert from 'node:assert/strict'
import type { Readable } from 'node:stream'
import type { BitsErrorCode } from '../protocol/errors.ts'
import { newGuid } from '../protocol/guid.ts'
import type { AppendOptions, Body, NewSession, Session, Store } from '../stores/store.ts'

/** A session to begin, with what a test wants to be different. */
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

/** Begins a session. */
export async function createSession(store: Store, more: Partial<NewSession> = {}): Promise<Session> {
  const session = newSession(more)
  await store.create(session)
  return loaded(store, session)
}

/** What the store says now of a session that must be there. */
export async function loaded(store: Store, { id }: { readonly id: string }): Promise<Session> {
  const session = await store.load(id)
  assert.ok(session, `load() does not know ${id}`)
  return session
}

/** A fragment: what is held is asked first, as a server does. */
export async function appended(
  store: Store,
  session: { readonly id: string },
  bytes: Body,
  options: Partial<AppendOptions> & Pick<AppendOptions, 'total'>,
): Promise<Session> {
  return store.append(await loaded(store, session), bytes, { durable: false, ...options })
}

/** Begins a session and fills it. */
export async function completeSession(
  store: Store,
  bytes: string | Uint8Array,
  more: Partial<NewSession> = {},
): Promise<Session> {
  const session = await createSession(store, more)
  return appended(store, session, body(bytes), { total: Buffer.from(bytes).length, durable: true })
}

/** Publishes as the next packet would: what is held is asked first. */
export async function publishSession(store: Store, session: { readonly id: string }): Promise<Session> {
  await store.publish(await loaded(store, session))
  return loaded(store, session)
}

/** A body of these batches; an Error among them is thrown when its turn comes. */
export async function* body(...batches: readonly (string | Uint8Array | Error)[]) {
  for (const batch of batches) {
    if (batch instanceof Error) throw batch
    yield [Buffer.from(batch)]
  }
}

/** Bytes that count up in fours: one that is missing, or in the wrong place, shows. */
export function patternBytes(length: number, start = 0): Buffer {
  const bytes = Buffer.alloc(Math.ceil(length / 4) * 4)
  for (let at = 0; at < length; at += 4) bytes.writeUInt32BE(start + at / 4, at)
  return bytes.subarray(0, length)
}

/** Waits until the time is another: what is told of it must not be that of the question. */
export async function nextMillisecond(): Promise<void> {
  for (const now = Date.now(); Date.now() === now; ) await new Promise(setImmediate)
}

/** All bytes of a stream. */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The ids of all sessions that the store lists, sorted. */
export async function listed(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list()) ids.push(id)
  return ids.sort()
}

/** Checks bytes; a difference is told by its place: megabytes in a message help nobody. */
export function assertBytes(
  actual: Uint8Array | undefined,
  expected: string | Uint8Array,
  what: string,
): void {
  assert.ok(actual, `${what}: there is nothing`)
  const wanted = Buffer.from(expected)
  if (wanted.equals(actual)) return
  const differs = wanted.findIndex((byte, at) => byte !== actual[at])
  assert.equal(differs, -1, `${what}: the byte at ${differs} of ${wanted.length} is another, or missing`)
  assert.equal(actual.length, wanted.length, `${what}: there is more than was given`)
}

/** Checks that these bytes are held, and counted. */
export async function assertHeld(
  store: Store,
  session: { readonly id: string },
  expected: string | Uint8Array,
): Promise<void> {
  const now = await loaded(store, session)
  assert.equal(now.received, Buffer.from(expected).length, 'received')
  assertBytes(await readAll(store.read(now)), expected, 'read()')
}

/** Checks that a call is refused with an error of the protocol. */
export const assertRejectsWith = (call: Promise<unknown>, code: BitsErrorCode): Promise<void> =>
  assert.rejects(call, { name: 'BitsError', code })

const contract = [
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

/** What the contract names of a session, but for the time of its progress. */
export const publicFields = (session: Session): object =>
  Object.fromEntries(contract.filter((key) => session[key] !== undefined).map((key) => [key, session[key]]))

/** Checks that a session is as a test wants it, in what the test names. */
export function assertSession(session: Session, expected: Partial<Session>): void {
  for (const [key, value] of Object.entries(expected)) {
    assert.deepEqual(session[key as keyof Session], value, key)
  }
}

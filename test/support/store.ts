import { expect } from 'vitest'
import { newGuid } from '../../lib/protocol/packet.ts'
import type { Body, NewSession, Session, Store } from '../../lib/stores/store.ts'

/** The argument of `create()`: default values, replaced by those in `more`. */
export const newSession = (more: Partial<NewSession> = {}): NewSession => ({
  id: newGuid(),
  name: 'a.bin',
  path: '/upload/a.bin',
  url: 'http://files.example/upload/a.bin',
  maxSize: 1e6,
  overwrite: false,
  created: Date.now(),
  ...more,
})

/** A body that yields these batches; it throws an Error among them when it reaches it. */
export async function* body(...batches: (string | Uint8Array | Error)[]): Body & AsyncGenerator<Buffer[]> {
  for (const batch of batches) {
    if (batch instanceof Error) throw batch
    yield [Buffer.from(batch)]
  }
}

/** Loads a session; throws if the store does not know it. */
export async function loaded(store: Store, id: string): Promise<Session> {
  const session = await store.load(id)
  if (!session) throw new Error(`The store does not know ${id}`)
  return session
}

/** Creates a session and appends the whole file. */
export async function complete(store: Store, text: string, more: Partial<NewSession> = {}): Promise<Session> {
  const session = newSession(more)
  await store.create(session)
  return store.append(await loaded(store, session.id), body(text), { total: text.length, durable: true })
}

/** The ids of all sessions that the store lists, sorted. */
export async function listed(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list()) ids.push(id)
  return ids.sort()
}

/** Matches a BitsError of this code. */
export const refusal = (code: string) => expect.objectContaining({ name: 'BitsError', code })

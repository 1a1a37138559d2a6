import { expect } from 'vitest'
import { newGuid } from '../../lib/protocol/guid.ts'
import type { Body, NewSession, Session, Store } from '../../lib/stores/store.ts'

/** A session to begin, with what a test wants to be different. */
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

/** A body of these batches; an Error among them is thrown when its turn comes. */
export async function* body(...batches: (string | Uint8Array | Error)[]): Body & AsyncGenerator<Buffer[]> {
  for (const batch of batches) {
    if (batch instanceof Error) throw batch
    yield [Buffer.from(batch)]
  }
}

/** What the store says of a session that must be there. */
export async function loaded(store: Store, id: string): Promise<Session> {
  const session = await store.load(id)
  if (!session) throw new Error(`The store does not know ${id}`)
  return session
}

/** Begins a session and fills it. */
export async function complete(store: Store, text: string, more: Partial<NewSession> = {}): Promise<Session> {
  const session = newSession(more)
  await store.create(session)
  return store.append(await loaded(store, session.id), body(text), { total: text.length, durable: true })
}

/** All that the store lists, by id. */
export async function listed(store: Store): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list()) ids.push(id)
  return ids.sort()
}

/** What a store rejects with, by its code. */
export const refusal = (code: string) => expect.objectContaining({ name: 'BitsError', code })

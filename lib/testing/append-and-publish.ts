import assert from 'node:assert/strict'
import type { Session, Store } from '../stores/store.ts'
import { type Fixture, type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertRejectsWith,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  loadAndAppend,
  loadAndPublish,
  loadExisting,
  newSession,
  patternBytes,
  publicFields,
} from './helpers.ts'

/** Checks the result of an `append` with `publish`: the store has published the file, or `publish` does it now. */
async function assertPublishes(
  { store, published }: Fixture,
  appended: Session,
  file: string | Uint8Array,
): Promise<void> {
  const size = Buffer.from(file).length
  assert.deepEqual(publicFields(appended), publicFields(await loadExisting(store, appended)))
  assertSession(appended, { received: size, total: size })
  if (appended.state !== 'published') {
    assertSession(appended, { state: 'receiving' })
    await store.publish(appended)
  }
  assertBytes(await published(appended.name), file, 'the file')
  await loadAndPublish(store, appended)
  assertSession(await loadExisting(store, appended), { state: 'published', received: size, total: size })
  assertBytes(await published(appended.name), file, 'the file')
}

const appendAll = (store: Store, session: Session, text: string | Uint8Array): Promise<Session> => {
  const total = session.total ?? Buffer.from(text).length
  return loadAndAppend(store, session, bodyOf(text), { total, durable: true, publish: true })
}

export const appendAndPublishSection: Section = {
  name: 'append() with publish: true',
  tests: [
    test('publishes the complete file, or ignores the option', async (fixture) => {
      const file = patternBytes(100_000)
      const appended = await appendAll(fixture.store, await createTestSession(fixture.store, {}, false), file)
      await assertPublishes(fixture, appended, file)
    }),
    test('publishes nothing before all bytes are held', async (fixture) => {
      const { store, published } = fixture
      const session = await createTestSession(store, {}, false)
      const options = { total: 6, durable: true, publish: true }
      const incomplete = await loadAndAppend(store, session, bodyOf('abc'), options)
      assertSession(incomplete, { state: 'receiving', received: 3 })
      const error = new Error('the connection was lost')
      const interrupted = loadAndAppend(store, session, bodyOf('d', error), options)
      await assert.rejects(interrupted, (thrown) => thrown === error)
      assert.equal(await published('a.bin'), undefined)
      assertSession(await loadExisting(store, session), { state: 'receiving', received: 4 })
      await assertPublishes(fixture, await appendAll(store, incomplete, 'ef'), 'abcdef')
    }),
    test('publishes a file whose bytes are all held', async (fixture) => {
      const session = await createCompleteSession(fixture.store, 'abc', {}, false)
      await assertPublishes(fixture, await appendAll(fixture.store, session, ''), 'abc')
    }),
    test('publishes an empty file', async (fixture) => {
      const session = await createTestSession(fixture.store, {}, false)
      await assertPublishes(fixture, await appendAll(fixture.store, session, ''), '')
    }),
    test('accepts the sessions that create() and append() return, without load()', async (fixture) => {
      const { store } = fixture
      const created = await store.create(newSession())
      const half = await store.append(created, bodyOf('abc'), { total: 6, durable: false })
      const options = { total: 6, durable: true, publish: true }
      const appended = await store.append(half, bodyOf('def'), options)
      await assertPublishes(fixture, appended, 'abcdef')
      await store.remove(appended)
      assert.equal(await store.load(appended.id), undefined)
      assertBytes(await fixture.published('a.bin'), 'abcdef', 'the file')
    }),
    test('replaces an existing file when overwrite is on', async (fixture) => {
      const { store, published } = fixture
      await loadAndPublish(store, await createCompleteSession(store, 'an old and longer one'))
      const session = await createTestSession(store, { overwrite: true }, false)
      assertBytes(await published('a.bin'), 'an old and longer one', 'the file')
      await assertPublishes(fixture, await appendAll(store, session, 'new'), 'new')
    }),
    test('rejects with destination-exists, as publish() does, if the name was taken meanwhile', async ({
      store,
      published,
    }) => {
      const late = await createTestSession(store)
      const early = await loadAndPublish(store, await createCompleteSession(store, 'early'))
      const publish = async (): Promise<void> => {
        const appended = await appendAll(store, late, 'late')
        assertSession(appended, { state: 'receiving', received: 4, total: 4 })
        await store.publish(appended)
      }
      await assertRejectsWith(publish(), 'destination-exists')
      assertBytes(await published('a.bin'), 'early', 'the file')
      assertSession(await loadExisting(store, early), { state: 'published' })
      // The bytes need not be held.
      const { received, state } = await loadExisting(store, late)
      assert.equal(state, 'receiving')
      await assertHeld(store, late, 'late'.slice(0, received))
      await store.remove(await loadExisting(store, late))
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('may be left out, also in a session whose bytes are not read before publish()', async (fixture) => {
      const { store } = fixture
      const file = patternBytes(300_000)
      const session = await createTestSession(store, {}, false)
      for (const first of [0, 100_000, 200_000]) {
        const fragment = bodyOf(file.subarray(first, first + 100_000))
        const options = { total: file.length, durable: first === 200_000 }
        const appended = await loadAndAppend(store, session, fragment, options)
        assertSession(appended, { state: 'receiving', received: first + 100_000 })
      }
      assert.equal(await fixture.published('a.bin'), undefined)
      await loadAndPublish(store, session)
      assertBytes(await fixture.published('a.bin'), file, 'the file')
    }),
    test('is not needed by a session whose bytes may be read', async (fixture) => {
      const { store, published } = fixture
      await store.create({ ...newSession(), name: 'b.bin' }, { mayReadBytes: false })
      const created = await store.create(newSession(), { mayReadBytes: true })
      const half = await store.append(created, bodyOf('abc'), { total: 6, durable: false })
      await assertHeld(store, half, 'abc')
      const complete = await store.append(half, bodyOf('def'), { total: 6, durable: true })
      await assertHeld(store, complete, 'abcdef')
      await loadAndPublish(store, complete)
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
    }),
  ],
}

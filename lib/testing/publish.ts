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
  loadAndPublish,
  loadExisting,
  newSession,
  patternBytes,
} from './helpers.ts'

/** Ten complete sessions of the same name with different bytes. */
const tenSessionsOfOneName = async (store: Store, overwrite: boolean): Promise<Session[]> =>
  Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      createCompleteSession(store, patternBytes(5000, i * 5000), { overwrite }),
    ),
  )

/**
 * Publishes all sessions concurrently, through the stores in turn; returns the indexes that succeeded, and
 * the errors.
 */
export async function publishConcurrently(
  stores: readonly Store[],
  sessions: readonly Session[],
): Promise<{ published: number[]; errors: unknown[] }> {
  const storeOf = (i: number): Store => stores[i % stores.length] as Store
  const current = await Promise.all(sessions.map((session, i) => loadExisting(storeOf(i), session)))
  const results = await Promise.allSettled(current.map((session, i) => storeOf(i).publish(session)))
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  return { published: results.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : [])), errors }
}

/** Checks that exactly one of ten concurrent publish() calls for one name succeeds, through these stores. */
export async function checkExclusivePublish(fixture: Fixture, stores: readonly Store[]): Promise<void> {
  const { store, published } = fixture
  const sessions = await tenSessionsOfOneName(store, false)
  const { published: winners, errors } = await publishConcurrently(stores, sessions)
  assert.equal(winners.length, 1, 'number of sessions that published the name')
  for (const error of errors) assert.equal((error as { code?: string }).code, 'destination-exists')
  const [winner = 0] = winners
  assertBytes(await published('a.bin'), patternBytes(5000, winner * 5000), 'the file')
  for (const [i, session] of sessions.entries()) {
    if (i === winner) assertSession(await loadExisting(store, session), { state: 'published' })
    else await assertHeld(store, session, patternBytes(5000, i * 5000))
  }
}

/**
 * Checks that ten concurrent publish() calls for one name succeed with `overwrite`, and leave one complete
 * file.
 */
export async function checkConcurrentReplace(
  { store, published }: Fixture,
  stores: readonly Store[],
): Promise<void> {
  const sessions = await tenSessionsOfOneName(store, true)
  const { errors } = await publishConcurrently(stores, sessions)
  assert.deepEqual(errors, [])
  const file = await published('a.bin')
  const winner = Buffer.from(file ?? [0, 0, 0, 0]).readUInt32BE() / 5000
  assertBytes(file, patternBytes(5000, winner * 5000), 'the file')
  for (const session of sessions) assertSession(await loadExisting(store, session), { state: 'published' })
}

export const publishSection: Section = {
  name: 'publish()',
  tests: [
    test('makes the complete file available under its name, and not earlier', async ({
      store,
      published,
    }) => {
      const file = patternBytes(200_001)
      const session = await createCompleteSession(store, file)
      assert.equal(await published('a.bin'), undefined)
      assertSession(await loadAndPublish(store, session), {
        state: 'published',
        received: 200_001,
        total: 200_001,
      })
      assertBytes(await published('a.bin'), file, 'the file')
    }),
    test('publishes an empty file', async ({ store, published }) => {
      await loadAndPublish(store, await createCompleteSession(store, ''))
      assertBytes(await published('a.bin'), '', 'the file')
    }),
    test('accepts the sessions that create() and append() return, without load()', async ({
      store,
      published,
    }) => {
      const options = { total: 3, durable: true }
      const session = await store.append(await store.create(newSession()), bodyOf('abc'), options)
      await store.publish(session)
      assertSession(await loadExisting(store, session), { state: 'published', received: 3, total: 3 })
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('does nothing when called a second time', async ({ store, published }) => {
      const session = await loadAndPublish(store, await createCompleteSession(store, 'abc'))
      assertSession(await loadAndPublish(store, session), { state: 'published', received: 3 })
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('does not restore a replaced file when called a second time', async ({ store, published }) => {
      const session = await loadAndPublish(
        store,
        await createCompleteSession(store, 'old', { overwrite: true }),
      )
      await loadAndPublish(store, await createCompleteSession(store, 'newer', { overwrite: true }))
      await store.publish(session)
      assertBytes(await published('a.bin'), 'newer', 'the file')
    }),
    test(
      'keeps the state published across a restart, where a second call does nothing',
      async (fixture) => {
        const session = await createCompleteSession(fixture.store, 'abc')
        await loadAndPublish(fixture.store, session)
        const store = await fixture.reopen()
        assertSession(await loadExisting(store, session), { state: 'published', received: 3, total: 3 })
        await loadAndPublish(store, session)
        assertBytes(await fixture.published('a.bin'), 'abc', 'the file')
        await store.remove(await loadExisting(store, session))
        assertBytes(await fixture.published('a.bin'), 'abc', 'the file')
      },
      'restart',
    ),
    test('rejects with destination-exists and keeps the bytes if the name was taken meanwhile', async ({
      store,
      published,
    }) => {
      const late = await createCompleteSession(store, 'late')
      await loadAndPublish(store, await createCompleteSession(store, 'early'))
      await assertRejectsWith(store.publish(await loadExisting(store, late)), 'destination-exists')
      assertBytes(await published('a.bin'), 'early', 'the file')
      assertSession(await loadExisting(store, late), { state: 'receiving', total: 4 })
      await assertHeld(store, late, 'late')
      // A second attempt fails as well.
      await assertRejectsWith(store.publish(await loadExisting(store, late)), 'destination-exists')
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('replaces an existing file when overwrite is on', async ({ store, published }) => {
      await loadAndPublish(store, await createCompleteSession(store, 'an old and longer one'))
      const session = await createCompleteSession(store, 'new', { overwrite: true })
      assertBytes(await published('a.bin'), 'an old and longer one', 'the file')
      await loadAndPublish(store, session)
      assertBytes(await published('a.bin'), 'new', 'the file')
    }),
    test('never exposes a partial or missing file while it replaces one', async (fixture) => {
      const { store, published } = fixture
      const files = [
        patternBytes(500_000),
        patternBytes(400_000, 1_000_000),
        patternBytes(600_000, 2_000_000),
      ]
      await loadAndPublish(store, await createCompleteSession(store, files[0] ?? ''))
      for (const file of files.slice(1)) {
        const session = await loadExisting(
          store,
          await createCompleteSession(store, file, { overwrite: true }),
        )
        let isDone = false
        const publication = store.publish(session).finally(() => {
          isDone = true
        })
        publication.catch(() => {})
        for (;;) {
          const isLast = isDone
          const current = await published('a.bin')
          assert.ok(current, 'the file is missing')
          assert.ok(
            files.some((each) => each.equals(current)),
            `the file is partial or mixed: ${current.length} bytes`,
          )
          if (isLast) break
          await new Promise(setImmediate)
        }
        await publication
        assertBytes(await published('a.bin'), file, 'the file')
      }
    }),
    test('publishes one of ten concurrent sessions, others get destination-exists', async (fixture) =>
      checkExclusivePublish(fixture, [fixture.store])),
    test('publishes one complete file when ten sessions overwrite it concurrently', async (fixture) =>
      checkConcurrentReplace(fixture, [fixture.store])),
    test('publishes ten different names concurrently', async ({ store, published }) => {
      const name = (i: number): string => `${i}.bin`
      const sessions = await Promise.all(
        Array.from({ length: 10 }, (_, i) => createCompleteSession(store, `I am ${i}`, { name: name(i) })),
      )
      const { errors } = await publishConcurrently([store], sessions)
      assert.deepEqual(errors, [])
      for (const i of sessions.keys()) assertBytes(await published(name(i)), `I am ${i}`, name(i))
    }),
    test('publishes the complete file or none when aborted, and succeeds when called again', async ({
      store,
      published,
    }) => {
      const session = await createCompleteSession(store, patternBytes(100_000))
      const controller = new AbortController()
      const done = store.publish(session, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('aborted by the test'))
      const isPublished = await done
      const file = await published('a.bin')
      if (isPublished || file) assertBytes(file, patternBytes(100_000), 'the file')
      await loadAndPublish(store, session)
      assertBytes(await published('a.bin'), patternBytes(100_000), 'the file')
    }),
    test(
      'rejects with invalid-destination and keeps the bytes if a folder took the name meanwhile',
      async (fixture) => {
        const { store } = fixture
        const session = await createCompleteSession(store, 'abc', { overwrite: true })
        await fixture.makeFolder('a.bin')
        await assertRejectsWith(store.publish(await loadExisting(store, session)), 'invalid-destination')
        await assertHeld(store, session, 'abc')
      },
      'folders',
    ),
  ],
}

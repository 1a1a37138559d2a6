import assert from 'node:assert/strict'
import type { Session, Store } from '../stores/store.ts'
import { type Fixture, type Section, test } from './contract-test.ts'
import {
  appended,
  assertBytes,
  assertHeld,
  assertRejectsWith,
  assertSession,
  body,
  completeSession,
  loaded,
  newSession,
  patternBytes,
  publishSession,
} from './helpers.ts'

/** Ten uploads for one name, each of other bytes. */
const rivals = async (store: Store, overwrite: boolean): Promise<Session[]> =>
  Promise.all(
    Array.from({ length: 10 }, (_, i) => completeSession(store, patternBytes(5000, i * 5000), { overwrite })),
  )

/** Publishes all at once, and tells which of them did not fail, by their places. */
export async function publishAll(
  stores: readonly Store[],
  sessions: readonly Session[],
): Promise<{ won: number[]; lost: unknown[] }> {
  const at = (i: number): Store => stores[i % stores.length] as Store
  const found = await Promise.all(sessions.map((session, i) => loaded(at(i), session)))
  const results = await Promise.allSettled(found.map((session, i) => at(i).publish(session)))
  const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  return { won: results.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : [])), lost }
}

/** Publishes ten uploads for one name at once, through these stores; only one may have it. */
export async function race(setting: Fixture, stores: readonly Store[]): Promise<void> {
  const { store, published } = setting
  const sessions = await rivals(store, false)
  const { won, lost } = await publishAll(stores, sessions)
  assert.equal(won.length, 1, `${won.length} have the name`)
  for (const error of lost) assert.equal((error as { code?: string }).code, 'destination-exists')
  const [winner = 0] = won
  assertBytes(await published('a.bin'), patternBytes(5000, winner * 5000), 'the file')
  for (const [i, session] of sessions.entries()) {
    if (i === winner) assertSession(await loaded(store, session), { state: 'published' })
    else await assertHeld(store, session, patternBytes(5000, i * 5000))
  }
}

/** Publishes ten uploads for one name at once, each of which may replace the others. */
export async function replaceInRace({ store, published }: Fixture, stores: readonly Store[]): Promise<void> {
  const sessions = await rivals(store, true)
  const { lost } = await publishAll(stores, sessions)
  assert.deepEqual(lost, [])
  const file = await published('a.bin')
  const winner = Buffer.from(file ?? [0, 0, 0, 0]).readUInt32BE() / 5000
  assertBytes(file, patternBytes(5000, winner * 5000), 'the file')
  for (const session of sessions) assertSession(await loaded(store, session), { state: 'published' })
}

export const publishSection: Section = {
  name: 'publish()',
  tests: [
    test('makes the complete file available under its name, and not earlier', async ({
      store,
      published,
    }) => {
      const file = patternBytes(200_001)
      const session = await completeSession(store, file)
      assert.equal(await published('a.bin'), undefined)
      assertSession(await publishSession(store, session), {
        state: 'published',
        received: 200_001,
        total: 200_001,
      })
      assertBytes(await published('a.bin'), file, 'the file')
    }),
    test('publishes an empty file', async ({ store, published }) => {
      await publishSession(store, await completeSession(store, ''))
      assertBytes(await published('a.bin'), '', 'the file')
    }),
    test('sets state, received and total after append() with publishes: true', async ({
      store,
      published,
    }) => {
      const options = { total: 3, durable: true, publishes: true }
      const session = await store.append(await store.create(newSession()), body('abc'), options)
      await store.publish(session)
      assertSession(await loaded(store, session), { state: 'published', received: 3, total: 3 })
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('can follow another append() after one with publishes: true, without losing bytes', async ({
      store,
      published,
    }) => {
      // Not loaded: what was just created may have all open that takes a note later.
      const session = await store.create(newSession())
      await store.append(session, body('abc'), { total: 3, durable: true, publishes: true })
      // Whoever said so has died: the client sends its last fragment again.
      assertSession(await appended(store, session, body(), { total: 3, durable: true }), {
        state: 'receiving',
        received: 3,
        total: 3,
      })
      assertSession(await loaded(store, session), { state: 'receiving', received: 3, total: 3 })
      await publishSession(store, session)
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('does nothing when called a second time', async ({ store, published }) => {
      const session = await publishSession(store, await completeSession(store, 'abc'))
      assertSession(await publishSession(store, session), { state: 'published', received: 3 })
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('does not restore a replaced file when called a second time', async ({ store, published }) => {
      const session = await publishSession(store, await completeSession(store, 'old', { overwrite: true }))
      await publishSession(store, await completeSession(store, 'newer', { overwrite: true }))
      await store.publish(session)
      assertBytes(await published('a.bin'), 'newer', 'the file')
    }),
    test(
      'keeps the state published across a restart, where a second call does nothing',
      async (setting) => {
        const session = await completeSession(setting.store, 'abc')
        await publishSession(setting.store, session)
        const store = await setting.reopen()
        assertSession(await loaded(store, session), { state: 'published', received: 3, total: 3 })
        await publishSession(store, session)
        assertBytes(await setting.published('a.bin'), 'abc', 'the file')
        await store.remove(await loaded(store, session))
        assertBytes(await setting.published('a.bin'), 'abc', 'the file')
      },
      'restart',
    ),
    test('rejects with destination-exists and keeps the bytes if the name was taken meanwhile', async ({
      store,
      published,
    }) => {
      const late = await completeSession(store, 'late')
      await publishSession(store, await completeSession(store, 'early'))
      await assertRejectsWith(store.publish(await loaded(store, late)), 'destination-exists')
      assertBytes(await published('a.bin'), 'early', 'the file')
      assertSession(await loaded(store, late), { state: 'receiving', total: 4 })
      await assertHeld(store, late, 'late')
      // Nor is it at the next try.
      await assertRejectsWith(store.publish(await loaded(store, late)), 'destination-exists')
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('replaces an existing file when overwrite is on', async ({ store, published }) => {
      await publishSession(store, await completeSession(store, 'an old and longer one'))
      const session = await completeSession(store, 'new', { overwrite: true })
      assertBytes(await published('a.bin'), 'an old and longer one', 'the file')
      await publishSession(store, session)
      assertBytes(await published('a.bin'), 'new', 'the file')
    }),
    test('never exposes a partial or missing file while it replaces one', async (setting) => {
      const { store, published } = setting
      const files = [
        patternBytes(500_000),
        patternBytes(400_000, 1_000_000),
        patternBytes(600_000, 2_000_000),
      ]
      await publishSession(store, await completeSession(store, files[0] ?? ''))
      for (const file of files.slice(1)) {
        const session = await loaded(store, await completeSession(store, file, { overwrite: true }))
        let isOver = false
        const publication = store.publish(session).finally(() => {
          isOver = true
        })
        publication.catch(() => {})
        for (;;) {
          const isLast = isOver
          const found = await published('a.bin')
          assert.ok(found, 'nothing stands there')
          assert.ok(
            files.some((each) => each.equals(found)),
            `a part stands there, or a mixture: ${found.length} bytes`,
          )
          if (isLast) break
          await new Promise(setImmediate)
        }
        await publication
        assertBytes(await published('a.bin'), file, 'the file')
      }
    }),
    test('publishes one of ten concurrent sessions, others get destination-exists', async (setting) =>
      race(setting, [setting.store])),
    test('publishes one complete file when ten sessions overwrite it concurrently', async (setting) =>
      replaceInRace(setting, [setting.store])),
    test('publishes ten different names concurrently', async ({ store, published }) => {
      const name = (i: number): string => `${i}.bin`
      const sessions = await Promise.all(
        Array.from({ length: 10 }, (_, i) => completeSession(store, `I am ${i}`, { name: name(i) })),
      )
      const { lost } = await publishAll([store], sessions)
      assert.deepEqual(lost, [])
      for (const i of sessions.keys()) assertBytes(await published(name(i)), `I am ${i}`, name(i))
    }),
    test('publishes the complete file or none when aborted, and succeeds when called again', async ({
      store,
      published,
    }) => {
      const session = await completeSession(store, patternBytes(100_000))
      const controller = new AbortController()
      const done = store.publish(session, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('nobody waits'))
      const isPublished = await done
      const found = await published('a.bin')
      if (isPublished || found) assertBytes(found, patternBytes(100_000), 'the file')
      await publishSession(store, session)
      assertBytes(await published('a.bin'), patternBytes(100_000), 'the file')
    }),
    test(
      'rejects with invalid-destination and keeps the bytes if a folder took the name meanwhile',
      async (setting) => {
        const { store } = setting
        const session = await completeSession(store, 'abc', { overwrite: true })
        await setting.makeFolder('a.bin')
        await assertRejectsWith(store.publish(await loaded(store, session)), 'invalid-destination')
        await assertHeld(store, session, 'abc')
      },
      'folders',
    ),
  ],
}

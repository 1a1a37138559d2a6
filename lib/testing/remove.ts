import assert from 'node:assert/strict'
import type { Session, Store } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  listIds,
  loadAndAppend,
  loadAndPublish,
  loadExisting,
  patternBytes,
  publicFields,
} from './helpers.ts'

/** Functions that create a session in each state in which it can be removed. */
const states: [state: string, make: (store: Store) => Promise<Session>][] = [
  ['an empty session', createTestSession],
  [
    'a partial session',
    async (store) =>
      loadAndAppend(store, await createTestSession(store), bodyOf(patternBytes(1000)), { total: 2000 }),
  ],
  ['a complete session', (store) => createCompleteSession(store, 'abc')],
  [
    'an accepted session',
    async (store) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf('the reply'))
      await store.accept(session, { publish: true, reply: 'stored' })
      return session
    },
  ],
  [
    'a rejected session',
    async (store) => {
      const session = await createCompleteSession(store, 'abc')
      await store.reject(session, 'a virus')
      return session
    },
  ],
]

export const removeSection: Section = {
  name: 'remove() and list()',
  tests: [
    ...states.map(([state, make]) =>
      test(`remove() deletes ${state} and frees its name`, async ({ store, published }) => {
        const session = await make(store)
        await store.remove(await loadExisting(store, session))
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listIds(store), [])
        assert.equal(await published('a.bin'), undefined)
        await loadAndPublish(store, await createCompleteSession(store, 'another'))
        assertBytes(await published('a.bin'), 'another', 'the file')
      }),
    ),
    test('remove() keeps the published file', async ({ store, published }) => {
      for (const overwrite of [false, true]) {
        const session = await loadAndPublish(
          store,
          await createCompleteSession(store, `${overwrite}`, { overwrite }),
        )
        await store.remove(session)
        assert.equal(await store.load(session.id), undefined)
        assertBytes(await published('a.bin'), `${overwrite}`, 'the file')
      }
      assert.deepEqual(await listIds(store), [])
    }),
    test('remove() keeps a file that another session published under the same name', async ({
      store,
      published,
    }) => {
      const late = await createCompleteSession(store, 'late')
      await loadAndPublish(store, await createCompleteSession(store, 'early'))
      await assert.rejects(store.publish(await loadExisting(store, late)))
      await store.remove(await loadExisting(store, late))
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('remove() succeeds when called a second time', async ({ store, published }) => {
      const session = await loadExisting(store, await createCompleteSession(store, 'abc'))
      const other = await loadAndPublish(store, await createCompleteSession(store, 'xyz', { name: 'b.bin' }))
      for (const each of [session, session, other, other]) await store.remove(each)
      assert.deepEqual(await listIds(store), [])
      assertBytes(await published('b.bin'), 'xyz', 'the file')
    }),
    test('remove() keeps another session of the same name and its reply', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      const other = await createCompleteSession(store, 'xyz')
      await store.saveReply(other, bodyOf('the reply'))
      await store.remove(await loadExisting(store, session))
      assert.deepEqual(await listIds(store), [other.id])
      assertSession(await loadExisting(store, other), { received: 3 })
      assert.equal((await store.loadReply(other))?.size, 9)
    }),
    test('append() rejects after remove(), and the session stays deleted', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.remove(session)
      await assert.rejects(store.append(session, bodyOf('x'), { total: 4, durable: false }))
      assert.equal(await store.load(session.id), undefined)
      assert.deepEqual(await listIds(store), [])
    }),
    test('an aborted remove() resolves only if the session is deleted, and can be repeated', async ({
      store,
    }) => {
      const session = await loadExisting(store, await createCompleteSession(store, 'abc'))
      const controller = new AbortController()
      const removed = store.remove(session, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('aborted by the test'))
      const isRemoved = await removed
      const current = await store.load(session.id)
      if (isRemoved) assert.equal(current, undefined)
      await store.remove(current ?? session)
      assert.equal(await store.load(session.id), undefined)
    }),
    test(
      'a removed session stays deleted across a restart',
      async (fixture) => {
        const session = await createCompleteSession(fixture.store, 'abc')
        await fixture.store.remove(await loadExisting(fixture.store, session))
        const store = await fixture.reopen()
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listIds(store), [])
      },
      'restart',
    ),
    test('list() yields nothing for a new store', async ({ store }) => {
      assert.deepEqual(await listIds(store), [])
    }),
    test('list() yields sessions in every state, with the same fields as load()', async ({ store }) => {
      for (const [, make] of states) await make(store)
      await loadAndPublish(
        store,
        await createCompleteSession(store, 'abc', { owner: 'ann', metadata: { shop: '7' } }),
      )
      let count = 0
      for await (const session of store.list()) {
        count += 1
        const current = await loadExisting(store, session)
        assert.deepEqual(publicFields(session), publicFields(current))
        assert.equal(session.updatedAt, current.updatedAt)
      }
      assert.equal(count, states.length + 1)
    }),
    test('list() yields each of 1100 sessions once', async ({ store }) => {
      const ids = new Set<string>()
      // More than one page of a service that returns 1000 entries per page (S3).
      for (let i = 0; i < 22; i += 1) {
        const sessions = await Promise.all(Array.from({ length: 50 }, () => createTestSession(store)))
        for (const { id } of sessions) ids.add(id)
      }
      assert.deepEqual(await listIds(store), [...ids].sort())
    }),
    test('list() omits no session while others are created and removed', async ({ store }) => {
      const [permanent, removed] = [new Set<string>(), new Set<string>()]
      for (let i = 0; i < 40; i += 1)
        for (const ids of [permanent, removed]) ids.add((await createTestSession(store)).id)
      const added = new Set<string>()
      const seen = new Set<string>()
      for await (const session of store.list()) {
        seen.add(session.id)
        // A sweep removes sessions while it lists them.
        if (removed.has(session.id)) await store.remove(await loadExisting(store, session))
        if (added.size < 40) added.add((await createTestSession(store)).id)
      }
      for (const id of [...permanent, ...removed]) assert.ok(seen.has(id), `${id} is not listed`)
      assert.deepEqual(await listIds(store), [...permanent, ...added].sort())
    }),
    test('list() can be stopped early and called again', async ({ store }) => {
      const sessions = await Promise.all(Array.from({ length: 10 }, () => createTestSession(store)))
      for await (const { id } of store.list()) {
        assert.ok(sessions.some((session) => session.id === id))
        break
      }
      assert.equal((await listIds(store)).length, 10)
    }),
    test(
      'list() yields all sessions after a restart',
      async (fixture) => {
        const sessions = await Promise.all(Array.from({ length: 10 }, () => createTestSession(fixture.store)))
        assert.deepEqual(await listIds(await fixture.reopen()), sessions.map(({ id }) => id).sort())
      },
      'restart',
    ),
  ],
}

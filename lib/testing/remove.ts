import assert from 'node:assert/strict'
import type { Session, Store } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  appended,
  assertBytes,
  assertSession,
  body,
  completeSession,
  createSession,
  listed,
  loaded,
  patternBytes,
  publicFields,
  publishSession,
} from './helpers.ts'

/** A session in each of the states that it may be in when it is removed. */
const states: [state: string, make: (store: Store) => Promise<Session>][] = [
  ['an empty session', createSession],
  [
    'a partial session',
    async (store) => appended(store, await createSession(store), body(patternBytes(1000)), { total: 2000 }),
  ],
  ['a complete session', (store) => completeSession(store, 'abc')],
  [
    'an accepted session',
    async (store) => {
      const session = await completeSession(store, 'abc')
      await store.saveReply(session, body('the reply'))
      await store.accept(session, { publish: true, reply: 'stored' })
      return session
    },
  ],
  [
    'a refused session',
    async (store) => {
      const session = await completeSession(store, 'abc')
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
        await store.remove(await loaded(store, session))
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [])
        assert.equal(await published('a.bin'), undefined)
        await publishSession(store, await completeSession(store, 'another'))
        assertBytes(await published('a.bin'), 'another', 'the file')
      }),
    ),
    test('remove() keeps the published file', async ({ store, published }) => {
      for (const overwrite of [false, true]) {
        const session = await publishSession(
          store,
          await completeSession(store, `${overwrite}`, { overwrite }),
        )
        await store.remove(session)
        assert.equal(await store.load(session.id), undefined)
        assertBytes(await published('a.bin'), `${overwrite}`, 'the file')
      }
      assert.deepEqual(await listed(store), [])
    }),
    test('remove() keeps a file that another session published under the same name', async ({
      store,
      published,
    }) => {
      const late = await completeSession(store, 'late')
      await publishSession(store, await completeSession(store, 'early'))
      await assert.rejects(store.publish(await loaded(store, late)))
      await store.remove(await loaded(store, late))
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('remove() succeeds when called a second time', async ({ store, published }) => {
      const session = await loaded(store, await completeSession(store, 'abc'))
      const other = await publishSession(store, await completeSession(store, 'xyz', { name: 'b.bin' }))
      for (const each of [session, session, other, other]) await store.remove(each)
      assert.deepEqual(await listed(store), [])
      assertBytes(await published('b.bin'), 'xyz', 'the file')
    }),
    test('remove() keeps another session of the same name and its reply', async ({ store }) => {
      const session = await completeSession(store, 'abc')
      const other = await completeSession(store, 'xyz')
      await store.saveReply(other, body('the reply'))
      await store.remove(await loaded(store, session))
      assert.deepEqual(await listed(store), [other.id])
      assertSession(await loaded(store, other), { received: 3 })
      assert.equal((await store.loadReply(other))?.size, 9)
    }),
    test('append() rejects after remove(), and the session stays deleted', async ({ store }) => {
      const session = await completeSession(store, 'abc')
      await store.remove(session)
      await assert.rejects(store.append(session, body('x'), { total: 4, durable: false }))
      assert.equal(await store.load(session.id), undefined)
      assert.deepEqual(await listed(store), [])
    }),
    test('an aborted remove() resolves only if the session is deleted, and can be repeated', async ({
      store,
    }) => {
      const session = await loaded(store, await completeSession(store, 'abc'))
      const controller = new AbortController()
      const removed = store.remove(session, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('nobody waits'))
      const isRemoved = await removed
      const found = await store.load(session.id)
      if (isRemoved) assert.equal(found, undefined)
      await store.remove(found ?? session)
      assert.equal(await store.load(session.id), undefined)
    }),
    test(
      'a removed session stays deleted across a restart',
      async (setting) => {
        const session = await completeSession(setting.store, 'abc')
        await setting.store.remove(await loaded(setting.store, session))
        const store = await setting.reopen()
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [])
      },
      'restart',
    ),
    test('list() yields nothing for a new store', async ({ store }) => {
      assert.deepEqual(await listed(store), [])
    }),
    test('list() yields sessions in every state, with the same fields as load()', async ({ store }) => {
      for (const [, make] of states) await make(store)
      await publishSession(
        store,
        await completeSession(store, 'abc', { owner: 'ann', metadata: { shop: '7' } }),
      )
      let count = 0
      for await (const session of store.list()) {
        count += 1
        const found = await loaded(store, session)
        assert.deepEqual(publicFields(session), publicFields(found))
        assert.equal(session.updatedAt, found.updatedAt)
      }
      assert.equal(count, states.length + 1)
    }),
    test('list() yields each of 1100 sessions once', async ({ store }) => {
      const ids = new Set<string>()
      // More than a page of what lists by pages.
      for (let i = 0; i < 22; i += 1) {
        const sessions = await Promise.all(Array.from({ length: 50 }, () => createSession(store)))
        for (const { id } of sessions) ids.add(id)
      }
      assert.deepEqual(await listed(store), [...ids].sort())
    }),
    test('list() omits no session while others are created and removed', async ({ store }) => {
      const [steady, leaving] = [new Set<string>(), new Set<string>()]
      for (let i = 0; i < 40; i += 1)
        for (const ids of [steady, leaving]) ids.add((await createSession(store)).id)
      const coming = new Set<string>()
      const seen = new Set<string>()
      for await (const session of store.list()) {
        seen.add(session.id)
        // As the search for expired sessions does it.
        if (leaving.has(session.id)) await store.remove(await loaded(store, session))
        if (coming.size < 40) coming.add((await createSession(store)).id)
      }
      for (const id of [...steady, ...leaving]) assert.ok(seen.has(id), `${id} is not listed`)
      assert.deepEqual(await listed(store), [...steady, ...coming].sort())
    }),
    test('list() can be stopped early and called again', async ({ store }) => {
      const sessions = await Promise.all(Array.from({ length: 10 }, () => createSession(store)))
      for await (const { id } of store.list()) {
        assert.ok(sessions.some((session) => session.id === id))
        break
      }
      assert.equal((await listed(store)).length, 10)
    }),
    test(
      'list() yields all sessions after a restart',
      async (setting) => {
        const sessions = await Promise.all(Array.from({ length: 10 }, () => createSession(setting.store)))
        assert.deepEqual(await listed(await setting.reopen()), sessions.map(({ id }) => id).sort())
      },
      'restart',
    ),
  ],
}

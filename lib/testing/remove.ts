import assert from 'node:assert/strict'
import type { Session, Store } from '../stores/store.ts'
import { type Chapter, test } from './case.ts'
import {
  appended,
  assertBytes,
  assertSession,
  begun,
  body,
  complete,
  counting,
  listed,
  loaded,
  publish,
  told,
} from './steps.ts'

/** A session in each of the states that it may be in when it is removed. */
const states: [state: string, make: (store: Store) => Promise<Session>][] = [
  ['that holds nothing', begun],
  [
    'that holds a part',
    async (store) => appended(store, await begun(store), body(counting(1000)), { total: 2000 }),
  ],
  ['that is complete', (store) => complete(store, 'abc')],
  [
    'that was accepted',
    async (store) => {
      const session = await complete(store, 'abc')
      await store.keepReply(session, body('the reply'))
      await store.accept(session, { publish: true, reply: 'kept' })
      return session
    },
  ],
  [
    'that was refused',
    async (store) => {
      const session = await complete(store, 'abc')
      await store.refuse(session, 'a virus')
      return session
    },
  ],
]

export const removing: Chapter = {
  name: 'remove() and list()',
  cases: [
    ...states.map(([state, make]) =>
      test(`a session ${state} is forgotten, and its name is free`, async ({ store, published }) => {
        const session = await make(store)
        await store.remove(await loaded(store, session))
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [])
        assert.equal(await published('a.bin'), undefined)
        await publish(store, await complete(store, 'another'))
        assertBytes(await published('a.bin'), 'another', 'the file')
      }),
    ),
    test('what was published stays', async ({ store, published }) => {
      for (const overwrite of [false, true]) {
        const session = await publish(store, await complete(store, `${overwrite}`, { overwrite }))
        await store.remove(session)
        assert.equal(await store.load(session.id), undefined)
        assertBytes(await published('a.bin'), `${overwrite}`, 'the file')
      }
      assert.deepEqual(await listed(store), [])
    }),
    test('what others published under the name stays', async ({ store, published }) => {
      const late = await complete(store, 'late')
      await publish(store, await complete(store, 'early'))
      await assert.rejects(store.publish(await loaded(store, late)))
      await store.remove(await loaded(store, late))
      assertBytes(await published('a.bin'), 'early', 'the file')
    }),
    test('a second time is no error', async ({ store, published }) => {
      const session = await loaded(store, await complete(store, 'abc'))
      const other = await publish(store, await complete(store, 'xyz', { name: 'b.bin' }))
      for (const each of [session, session, other, other]) await store.remove(each)
      assert.deepEqual(await listed(store), [])
      assertBytes(await published('b.bin'), 'xyz', 'the file')
    }),
    test('only the one is forgotten', async ({ store }) => {
      const session = await complete(store, 'abc')
      const other = await complete(store, 'xyz')
      await store.keepReply(other, body('the reply'))
      await store.remove(await loaded(store, session))
      assert.deepEqual(await listed(store), [other.id])
      assertSession(await loaded(store, other), { received: 3 })
      assert.equal((await store.loadReply(other))?.size, 9)
    }),
    test('a session that was removed takes nothing, and does not come back', async ({ store }) => {
      const session = await complete(store, 'abc')
      await store.remove(session)
      await assert.rejects(store.append(session, body('x'), { total: 4, durable: false }))
      assert.equal(await store.load(session.id), undefined)
      assert.deepEqual(await listed(store), [])
    }),
    test('a removal that was given up was made, or can be', async ({ store }) => {
      const session = await loaded(store, await complete(store, 'abc'))
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
      'what was removed stays so over a restart',
      async (setting) => {
        const session = await complete(setting.store, 'abc')
        await setting.store.remove(await loaded(setting.store, session))
        const store = await setting.reopen()
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [])
      },
      'restart',
    ),
    test('a store that nobody used has no sessions', async ({ store }) => {
      assert.deepEqual(await listed(store), [])
    }),
    test('all sessions are listed, in whatever state, as load() tells them', async ({ store }) => {
      for (const [, make] of states) await make(store)
      await publish(store, await complete(store, 'abc', { owner: 'ann', metadata: { shop: '7' } }))
      let count = 0
      for await (const session of store.list()) {
        count += 1
        const found = await loaded(store, session)
        assert.deepEqual(told(session), told(found))
        assert.equal(session.progressed, found.progressed)
      }
      assert.equal(count, states.length + 1)
    }),
    test('many sessions are listed, each once', async ({ store }) => {
      const ids = new Set<string>()
      // More than a page of what lists by pages.
      for (let i = 0; i < 22; i += 1) {
        const sessions = await Promise.all(Array.from({ length: 50 }, () => begun(store)))
        for (const { id } of sessions) ids.add(id)
      }
      assert.deepEqual(await listed(store), [...ids].sort())
    }),
    test('sessions that come and go meanwhile hide none of the others', async ({ store }) => {
      const [steady, leaving] = [new Set<string>(), new Set<string>()]
      for (let i = 0; i < 40; i += 1) for (const ids of [steady, leaving]) ids.add((await begun(store)).id)
      const coming = new Set<string>()
      const seen = new Set<string>()
      for await (const session of store.list()) {
        seen.add(session.id)
        // As the search for expired sessions does it.
        if (leaving.has(session.id)) await store.remove(await loaded(store, session))
        if (coming.size < 40) coming.add((await begun(store)).id)
      }
      for (const id of [...steady, ...leaving]) assert.ok(seen.has(id), `${id} is not listed`)
      assert.deepEqual(await listed(store), [...steady, ...coming].sort())
    }),
    test('a list may be given up, and begun again', async ({ store }) => {
      const sessions = await Promise.all(Array.from({ length: 10 }, () => begun(store)))
      for await (const { id } of store.list()) {
        assert.ok(sessions.some((session) => session.id === id))
        break
      }
      assert.equal((await listed(store)).length, 10)
    }),
    test(
      'all sessions are listed after a restart',
      async (setting) => {
        const sessions = await Promise.all(Array.from({ length: 10 }, () => begun(setting.store)))
        assert.deepEqual(await listed(await setting.reopen()), sessions.map(({ id }) => id).sort())
      },
      'restart',
    ),
  ],
}

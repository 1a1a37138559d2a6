import assert from 'node:assert/strict'
import type { Decision } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  listIds,
  loadAndPublish,
  loadExisting,
} from './helpers.ts'

const decisions: [what: string, decision: Decision][] = [
  ['no reply', { publish: true }],
  ['a stored reply', { publish: true, reply: 'stored' }],
  ['a reply URL', { publish: true, reply: { url: 'http://replies.example/1?a=%20&b=ü' } }],
  ['publish: false', { publish: false }],
  ['a stored reply and publish: false', { publish: false, reply: 'stored' }],
]

const reason = 'Es enthält „einen Virus“ \\ "☃"\r\n𝄞'

export const decisionSection: Section = {
  name: 'accept() and reject()',
  tests: [
    ...decisions.flatMap(([what, decision]) => [
      test(`accept() with ${what} saves the decision and leaves the file unpublished`, async ({
        store,
        published,
      }) => {
        const session = await createCompleteSession(store, 'abc')
        assert.equal((await loadExisting(store, session)).decision, undefined)
        await store.accept(session, decision)
        const accepted = { state: 'accepted', received: 3, total: 3, decision } as const
        assertSession(await loadExisting(store, session), accepted)
        assert.equal(await published('a.bin'), undefined)
      }),
      test(
        `accept() with ${what} keeps the decision across a restart`,
        async (fixture) => {
          const session = await createCompleteSession(fixture.store, 'abc')
          await fixture.store.accept(session, decision)
          const after = await loadExisting(await fixture.reopen(), session)
          assertSession(after, { state: 'accepted', received: 3, total: 3, decision })
        },
        'restart',
      ),
    ]),
    test('accept() keeps the bytes, and publish() publishes them', async (fixture) => {
      const { store, published } = fixture
      const session = await createCompleteSession(store, 'abc')
      await store.accept(session, { publish: true })
      await assertHeld(store, session, 'abc')
      await loadAndPublish(store, session)
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('load() returns the decision after publish()', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      const decision = { publish: true, reply: { url: 'http://replies.example/1' } }
      await store.accept(session, decision)
      assertSession(await loadAndPublish(store, session), {
        state: 'published',
        received: 3,
        total: 3,
        decision,
      })
    }),
    test(
      'load() returns the decision after publish() and a restart',
      async (fixture) => {
        const { store } = fixture
        const session = await createCompleteSession(store, 'abc')
        const decision = { publish: true, reply: { url: 'http://replies.example/1' } }
        await store.accept(session, decision)
        await loadAndPublish(store, session)
        const after = await loadExisting(await fixture.reopen(), session)
        assertSession(after, { state: 'published', received: 3, total: 3, decision })
      },
      'restart',
    ),
    test('remove() deletes an upload accepted with publish: false and publishes nothing', async ({
      store,
      published,
    }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.accept(session, { publish: false })
      await store.remove(await loadExisting(store, session))
      assert.equal(await published('a.bin'), undefined)
      assert.deepEqual(await listIds(store), [])
    }),
    test('saveReply(), accept(), publish() and remove() take the session from append()', async ({
      store,
      published,
    }) => {
      const empty = await createTestSession(store)
      // A server that holds the lock does not call load() again between these methods.
      const session = await store.append(empty, bodyOf('abc'), { total: 3, durable: true })
      await store.saveReply(session, bodyOf('thanks'))
      await store.accept(session, { publish: true, reply: 'stored' })
      await store.publish(session)
      const after = await loadExisting(store, session)
      assertSession(after, { state: 'published', received: 3, decision: { publish: true, reply: 'stored' } })
      assert.equal((await store.loadReply(after))?.size, 6)
      assertBytes(await published('a.bin'), 'abc', 'the file')
      await store.remove(session)
      assertBytes(await published('a.bin'), 'abc', 'the file')
      assert.deepEqual(await listIds(store), [])
    }),
    test('reject() saves the reason and keeps the session, unpublished', async ({ store, published }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.reject(session, reason)
      const rejected = { state: 'rejected', received: 3, total: 3, rejection: reason } as const
      assertSession(await loadExisting(store, session), rejected)
      assert.equal(await published('a.bin'), undefined)
      assert.deepEqual(await listIds(store), [session.id])
    }),
    test(
      'reject() keeps the state and the reason across a restart',
      async (fixture) => {
        const session = await createCompleteSession(fixture.store, 'abc')
        await fixture.store.reject(session, reason)
        const rejected = { state: 'rejected', received: 3, total: 3, rejection: reason } as const
        assertSession(await loadExisting(await fixture.reopen(), session), rejected)
      },
      'restart',
    ),
    test('an aborted accept() leaves the upload accepted or receiving, with its bytes', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      const controller = new AbortController()
      const accepted = store.accept(session, { publish: true }, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('aborted by the test'))
      const isAccepted = await accepted
      const { state } = await loadExisting(store, session)
      assert.ok(isAccepted ? state === 'accepted' : ['accepted', 'receiving'].includes(state), state)
      await assertHeld(store, session, 'abc')
    }),
  ],
}

import assert from 'node:assert/strict'
import type { Acceptance } from '../stores/store.ts'
import { type Chapter, test } from './case.ts'
import {
  assertBytes,
  assertHeld,
  assertSession,
  begun,
  body,
  complete,
  listed,
  loaded,
  publish,
} from './steps.ts'

const acceptances: [what: string, acceptance: Acceptance][] = [
  ['no reply', { publish: true }],
  ['a kept reply', { publish: true, reply: 'kept' }],
  ['a reply URL', { publish: true, reply: { url: 'http://replies.example/1?a=%20&b=ü' } }],
  ['publish: false', { publish: false }],
  ['a kept reply and publish: false', { publish: false, reply: 'kept' }],
]

const reason = 'Es enthält „einen Virus“ \\ "☃"\r\n𝄞'

export const deciding: Chapter = {
  name: 'accept() and refuse()',
  cases: [
    ...acceptances.flatMap(([what, acceptance]) => [
      test(`accept() with ${what} saves the acceptance and leaves the file unpublished`, async ({
        store,
        published,
      }) => {
        const session = await complete(store, 'abc')
        assert.equal((await loaded(store, session)).acceptance, undefined)
        await store.accept(session, acceptance)
        const accepted = { state: 'accepted', received: 3, total: 3, acceptance } as const
        assertSession(await loaded(store, session), accepted)
        assert.equal(await published('a.bin'), undefined)
      }),
      test(
        `accept() with ${what} keeps the acceptance across a restart`,
        async (setting) => {
          const session = await complete(setting.store, 'abc')
          await setting.store.accept(session, acceptance)
          const after = await loaded(await setting.reopen(), session)
          assertSession(after, { state: 'accepted', received: 3, total: 3, acceptance })
        },
        'restart',
      ),
    ]),
    test('accept() keeps the bytes, and publish() publishes them', async (setting) => {
      const { store, published } = setting
      const session = await complete(store, 'abc')
      await store.accept(session, { publish: true })
      await assertHeld(store, session, 'abc')
      await publish(store, session)
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test('load() returns the acceptance after publish()', async ({ store }) => {
      const session = await complete(store, 'abc')
      const acceptance = { publish: true, reply: { url: 'http://replies.example/1' } }
      await store.accept(session, acceptance)
      assertSession(await publish(store, session), { state: 'published', received: 3, total: 3, acceptance })
    }),
    test(
      'load() returns the acceptance after publish() and a restart',
      async (setting) => {
        const { store } = setting
        const session = await complete(store, 'abc')
        const acceptance = { publish: true, reply: { url: 'http://replies.example/1' } }
        await store.accept(session, acceptance)
        await publish(store, session)
        const after = await loaded(await setting.reopen(), session)
        assertSession(after, { state: 'published', received: 3, total: 3, acceptance })
      },
      'restart',
    ),
    test('remove() deletes an upload accepted with publish: false and publishes nothing', async ({
      store,
      published,
    }) => {
      const session = await complete(store, 'abc')
      await store.accept(session, { publish: false })
      await store.remove(await loaded(store, session))
      assert.equal(await published('a.bin'), undefined)
      assert.deepEqual(await listed(store), [])
    }),
    test('keepReply(), accept(), publish() and remove() take the session from append()', async ({
      store,
      published,
    }) => {
      const begin = await begun(store)
      // As the server does it: nothing is asked anew while the lock is held.
      const session = await store.append(begin, body('abc'), { total: 3, durable: true })
      await store.keepReply(session, body('thanks'))
      await store.accept(session, { publish: true, reply: 'kept' })
      await store.publish(session)
      const after = await loaded(store, session)
      assertSession(after, { state: 'published', received: 3, acceptance: { publish: true, reply: 'kept' } })
      assert.equal((await store.loadReply(after))?.size, 6)
      assertBytes(await published('a.bin'), 'abc', 'the file')
      await store.remove(session)
      assertBytes(await published('a.bin'), 'abc', 'the file')
      assert.deepEqual(await listed(store), [])
    }),
    test('refuse() saves the reason and keeps the session, unpublished', async ({ store, published }) => {
      const session = await complete(store, 'abc')
      await store.refuse(session, reason)
      const refused = { state: 'refused', received: 3, total: 3, refusal: reason } as const
      assertSession(await loaded(store, session), refused)
      assert.equal(await published('a.bin'), undefined)
      assert.deepEqual(await listed(store), [session.id])
    }),
    test(
      'refuse() keeps the state and the reason across a restart',
      async (setting) => {
        const session = await complete(setting.store, 'abc')
        await setting.store.refuse(session, reason)
        const refused = { state: 'refused', received: 3, total: 3, refusal: reason } as const
        assertSession(await loaded(await setting.reopen(), session), refused)
      },
      'restart',
    ),
    test('an aborted accept() leaves the upload accepted or receiving, with its bytes', async ({ store }) => {
      const session = await complete(store, 'abc')
      const controller = new AbortController()
      const accepted = store.accept(session, { publish: true }, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('nobody waits'))
      const isAccepted = await accepted
      const { state } = await loaded(store, session)
      assert.ok(isAccepted ? state === 'accepted' : ['accepted', 'receiving'].includes(state), state)
      await assertHeld(store, session, 'abc')
    }),
  ],
}

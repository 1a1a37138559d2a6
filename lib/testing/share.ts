import assert from 'node:assert/strict'
import { memoryLocker } from '../locks/memory.ts'
import type { Store } from '../stores/store.ts'
import { type Fixture, type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertRejectsWith,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  listIds,
  loadAndAppend,
  loadAndPublish,
  loadExisting,
  newSession,
  patternBytes,
  publicFields,
  readStream,
} from './helpers.ts'
import { checkConcurrentReplace, checkExclusivePublish, publishConcurrently } from './publish.ts'

async function twoStores(fixture: Fixture): Promise<[Store, Store]> {
  return [fixture.store, await fixture.reopen()]
}

export const sharingSection: Section = {
  name: 'two stores on the same storage',
  tests: [
    test(
      'find sessions that the other one created',
      async (fixture) => {
        const [one, another] = await twoStores(fixture)
        const session = await createTestSession(one, { owner: 'ann', metadata: { shop: '7' } })
        assert.deepEqual(publicFields(await loadExisting(another, session)), publicFields(session))
        assert.deepEqual(await listIds(another), [session.id])
        const back = await createTestSession(another)
        assert.deepEqual(await listIds(one), [session.id, back.id].sort())
      },
      'sharing',
    ),
    test(
      'append the fragments of one upload alternately',
      async (fixture) => {
        const stores = await twoStores(fixture)
        const session = await createTestSession(fixture.store)
        const file = patternBytes(1000)
        for (let turn = 0; turn < 10; turn += 1) {
          const fragment = file.subarray(turn * 100, turn * 100 + 100)
          const [store, other] = turn % 2 ? stores : [stores[1], stores[0]]
          await loadAndAppend(store, session, bodyOf(fragment), { total: 1000, durable: turn === 9 })
          assertSession(await loadExisting(other, session), { received: turn * 100 + 100, total: 1000 })
        }
        for (const store of stores) await assertHeld(store, session, file)
        await loadAndPublish(stores[1], session)
        assertBytes(await fixture.published('a.bin'), file, 'the file')
      },
      'sharing',
    ),
    test(
      'load decisions, rejections and replies that the other one saved',
      async (fixture) => {
        const [one, another] = await twoStores(fixture)
        const accepted = await createCompleteSession(one, 'abc')
        const rejected = await createCompleteSession(one, 'abc')
        const decision = { publish: true, reply: 'stored' } as const
        await one.saveReply(accepted, bodyOf('the reply'))
        await one.accept(accepted, decision)
        await one.reject(rejected, 'a virus')
        assertSession(await loadExisting(another, accepted), { state: 'accepted', decision })
        assertSession(await loadExisting(another, rejected), { state: 'rejected', rejection: 'a virus' })
        const reply = await another.loadReply(await loadExisting(another, accepted))
        assert.ok(reply, 'loadReply() returned undefined')
        assertBytes(await readStream(reply.read(0, 8)), 'the reply', 'the reply')
      },
      'sharing',
    ),
    test(
      'load sessions that the other one published and do not replace their files',
      async (fixture) => {
        const [one, another] = await twoStores(fixture)
        const late = await createCompleteSession(another, 'late')
        const session = await loadAndPublish(one, await createCompleteSession(one, 'early'))
        assertSession(await loadExisting(another, session), { state: 'published', received: 5 })
        await assertRejectsWith(another.create(newSession()), 'destination-exists')
        await assertRejectsWith(another.publish(await loadExisting(another, late)), 'destination-exists')
        await loadAndPublish(another, session)
        assertBytes(await fixture.published('a.bin'), 'early', 'the file')
      },
      'sharing',
    ),
    test(
      'do not find sessions that the other one removed',
      async (fixture) => {
        const [one, another] = await twoStores(fixture)
        const session = await createCompleteSession(one, 'abc')
        const seen = await loadExisting(another, session)
        await one.remove(await loadExisting(one, session))
        assert.equal(await another.load(session.id), undefined)
        assert.deepEqual(await listIds(another), [])
        await another.remove(seen)
        await assert.rejects(another.append(seen, bodyOf('x'), { total: 4, durable: false }))
        assert.equal(await one.load(session.id), undefined)
      },
      'sharing',
    ),
    test(
      'publish one of ten concurrent sessions, others get destination-exists',
      async (fixture) => checkExclusivePublish(fixture, await twoStores(fixture)),
      'sharing',
    ),
    test(
      'publish one complete file when ten sessions overwrite it concurrently',
      async (fixture) => checkConcurrentReplace(fixture, await twoStores(fixture)),
      'sharing',
    ),
    test(
      'publish ten different names concurrently',
      async (fixture) => {
        const stores = await twoStores(fixture)
        const name = (i: number): string => `${i}.bin`
        const sessions = await Promise.all(
          Array.from({ length: 10 }, (_, i) =>
            createCompleteSession(fixture.store, `I am ${i}`, { name: name(i) }),
          ),
        )
        const { errors } = await publishConcurrently(stores, sessions)
        assert.deepEqual(errors, [])
        for (const i of sessions.keys()) assertBytes(await fixture.published(name(i)), `I am ${i}`, name(i))
      },
      'sharing',
    ),
    test(
      'publish the complete file when both call publish() for one session in turn',
      async (fixture) => {
        const stores = await twoStores(fixture)
        // A store without a locker relies on the locks of the server.
        const serverLocker = memoryLocker()
        for (const overwrite of [false, true]) {
          const file = patternBytes(5000, overwrite ? 5000 : 0)
          const session = await createCompleteSession(fixture.store, file, { overwrite })
          await Promise.all(
            [0, 1, 2, 3].map(async (i) => {
              const store = stores[i % 2] as Store
              const lock = await (store.locker ?? serverLocker).acquire(session.id)
              try {
                await store.publish(await loadExisting(store, session))
              } finally {
                await lock.release()
              }
            }),
          )
          for (const store of stores)
            assertSession(await loadExisting(store, session), { state: 'published' })
          assertBytes(await fixture.published('a.bin'), file, 'the file')
        }
      },
      'sharing',
    ),
  ],
}

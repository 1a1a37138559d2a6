import assert from 'node:assert/strict'
import { memoryLocker } from '../locks/memory.ts'
import type { Store } from '../stores/store.ts'
import { type Fixture, type Section, test } from './contract-test.ts'
import {
  appended,
  assertBytes,
  assertHeld,
  assertRejectsWith,
  assertSession,
  body,
  completeSession,
  createSession,
  listed,
  loaded,
  newSession,
  patternBytes,
  publicFields,
  publishSession,
  readAll,
} from './helpers.ts'
import { publishAll, race, replaceInRace } from './publish.ts'

async function twoStores(setting: Fixture): Promise<[Store, Store]> {
  return [setting.store, await setting.reopen()]
}

export const sharingSection: Section = {
  name: 'two stores on the same storage',
  tests: [
    test(
      'find sessions that the other one created',
      async (setting) => {
        const [one, another] = await twoStores(setting)
        const session = await createSession(one, { owner: 'ann', metadata: { shop: '7' } })
        assert.deepEqual(publicFields(await loaded(another, session)), publicFields(session))
        assert.deepEqual(await listed(another), [session.id])
        const back = await createSession(another)
        assert.deepEqual(await listed(one), [session.id, back.id].sort())
      },
      'sharing',
    ),
    test(
      'append the fragments of one upload alternately',
      async (setting) => {
        const stores = await twoStores(setting)
        const session = await createSession(setting.store)
        const file = patternBytes(1000)
        for (let turn = 0; turn < 10; turn += 1) {
          const fragment = file.subarray(turn * 100, turn * 100 + 100)
          const [store, other] = turn % 2 ? stores : [stores[1], stores[0]]
          await appended(store, session, body(fragment), { total: 1000, durable: turn === 9 })
          assertSession(await loaded(other, session), { received: turn * 100 + 100, total: 1000 })
        }
        for (const store of stores) await assertHeld(store, session, file)
        await publishSession(stores[1], session)
        assertBytes(await setting.published('a.bin'), file, 'the file')
      },
      'sharing',
    ),
    test(
      'load decisions, refusals and replies that the other one saved',
      async (setting) => {
        const [one, another] = await twoStores(setting)
        const accepted = await completeSession(one, 'abc')
        const refused = await completeSession(one, 'abc')
        const decision = { publish: true, reply: 'stored' } as const
        await one.saveReply(accepted, body('the reply'))
        await one.accept(accepted, decision)
        await one.reject(refused, 'a virus')
        assertSession(await loaded(another, accepted), { state: 'accepted', decision })
        assertSession(await loaded(another, refused), { state: 'rejected', rejection: 'a virus' })
        const reply = await another.loadReply(await loaded(another, accepted))
        assert.ok(reply, 'loadReply() knows none')
        assertBytes(await readAll(reply.read(0, 8)), 'the reply', 'the reply')
      },
      'sharing',
    ),
    test(
      'load sessions that the other one published and do not replace their files',
      async (setting) => {
        const [one, another] = await twoStores(setting)
        const late = await completeSession(another, 'late')
        const session = await publishSession(one, await completeSession(one, 'early'))
        assertSession(await loaded(another, session), { state: 'published', received: 5 })
        await assertRejectsWith(another.create(newSession()), 'destination-exists')
        await assertRejectsWith(another.publish(await loaded(another, late)), 'destination-exists')
        await publishSession(another, session)
        assertBytes(await setting.published('a.bin'), 'early', 'the file')
      },
      'sharing',
    ),
    test(
      'do not find sessions that the other one removed',
      async (setting) => {
        const [one, another] = await twoStores(setting)
        const session = await completeSession(one, 'abc')
        const seen = await loaded(another, session)
        await one.remove(await loaded(one, session))
        assert.equal(await another.load(session.id), undefined)
        assert.deepEqual(await listed(another), [])
        await another.remove(seen)
        await assert.rejects(another.append(seen, body('x'), { total: 4, durable: false }))
        assert.equal(await one.load(session.id), undefined)
      },
      'sharing',
    ),
    test(
      'publish one of ten concurrent sessions, others get destination-exists',
      async (setting) => race(setting, await twoStores(setting)),
      'sharing',
    ),
    test(
      'publish one complete file when ten sessions overwrite it concurrently',
      async (setting) => replaceInRace(setting, await twoStores(setting)),
      'sharing',
    ),
    test(
      'publish ten different names concurrently',
      async (setting) => {
        const stores = await twoStores(setting)
        const name = (i: number): string => `${i}.bin`
        const sessions = await Promise.all(
          Array.from({ length: 10 }, (_, i) =>
            completeSession(setting.store, `I am ${i}`, { name: name(i) }),
          ),
        )
        const { lost } = await publishAll(stores, sessions)
        assert.deepEqual(lost, [])
        for (const i of sessions.keys()) assertBytes(await setting.published(name(i)), `I am ${i}`, name(i))
      },
      'sharing',
    ),
    test(
      'publish the complete file when both call publish() for one session in turn',
      async (setting) => {
        const stores = await twoStores(setting)
        // Without a locker of theirs, packets of one session are kept apart by the server.
        const inPlace = memoryLocker()
        for (const overwrite of [false, true]) {
          const file = patternBytes(5000, overwrite ? 5000 : 0)
          const session = await completeSession(setting.store, file, { overwrite })
          await Promise.all(
            [0, 1, 2, 3].map(async (i) => {
              const store = stores[i % 2] as Store
              const lock = await (store.locker ?? inPlace).acquire(session.id)
              try {
                await store.publish(await loaded(store, session))
              } finally {
                await lock.release()
              }
            }),
          )
          for (const store of stores) assertSession(await loaded(store, session), { state: 'published' })
          assertBytes(await setting.published('a.bin'), file, 'the file')
        }
      },
      'sharing',
    ),
  ],
}

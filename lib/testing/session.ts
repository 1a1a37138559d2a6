import assert from 'node:assert/strict'
import type { NewSession, Session } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  appended,
  assertBytes,
  assertHeld,
  assertRejectsWith,
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

/** All that can be known of a session when it begins, in characters that are legal and rare. */
const odd: Partial<NewSession> = {
  id: '{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}',
  path: '/upload/Übergröße ☃ 𝄞.bin',
  url: "http://[::1]:8080/upload/%C3%9Cbergr%C3%B6%C3%9Fe%20☃?a=1&b='%2F",
  owner: 'DOMAIN\\Jörg "J" <jörg@例え.jp>\t𝄞',
  maxSize: Number.MAX_SAFE_INTEGER,
  overwrite: true,
  metadata: Object.fromEntries([
    ['shop', '7'],
    ['Ключ к 𝄞', '値 "\\ \r\n\0 {}'],
    ['', ''],
    ['__proto__', 'a name like all others'],
  ]),
  created: Date.UTC(1999, 11, 31),
}

/** Names that no rule of `checkName` refuses, and that are none like the others. */
const oddNames = [
  'ünïcödé ☃ 日本語 𝄞.txt',
  '.hidden',
  "a b  c&d'e;f=g%20h%2Fi#j$k(l)[m]{n}~!@^`+,-_",
  '__proto__',
  'constructor',
  'a.bin.part',
  `${'x'.repeat(251)}.bin`,
  'UPPER and lower',
]

const hour = 3_600_000

export const sessionSection: Section = {
  name: 'create() and load()',
  tests: [
    test('load() returns every field of a new session, with state receiving and received 0', async ({
      store,
    }) => {
      const session = newSession()
      await store.create(session)
      assert.deepEqual(publicFields(await loaded(store, session)), {
        ...session,
        state: 'receiving',
        received: 0,
      })
      const { updatedAt } = await loaded(store, session)
      // Clocks of other machines may be wrong; 1970 or seconds for milliseconds are something else.
      assert.ok(Math.abs(updatedAt - session.created) < hour, `updatedAt: ${updatedAt}`)
    }),
    test('load() returns unusual ids, paths, owners and metadata unchanged', async ({ store }) => {
      const session = newSession(odd)
      await store.create(session)
      assert.deepEqual(publicFields(await loaded(store, session)), {
        ...session,
        state: 'receiving',
        received: 0,
      })
    }),
    test(
      'load() returns unusual ids, paths, owners and metadata unchanged after a restart',
      async (setting) => {
        const session = newSession(odd)
        await setting.store.create(session)
        const after = await loaded(await setting.reopen(), session)
        assert.deepEqual(publicFields(after), { ...session, state: 'receiving', received: 0 })
      },
      'restart',
    ),
    test('create() returns the same session fields as load()', async ({ store }) => {
      for (const more of [{}, { ...odd, created: Date.now() }]) {
        const session = await store.create(newSession(more))
        const after = await loaded(store, session)
        assert.deepEqual(publicFields(session), publicFields(after))
        const apart = session.updatedAt - after.updatedAt
        assert.ok(Math.abs(apart) < hour, `updatedAt: ${session.updatedAt}`)
      }
    }),
    test('create() returns a session that needs no load() until remove()', async (setting) => {
      const { store, published } = setting
      const options = { total: 6, durable: true }
      const first = await store.append(await store.create(newSession()), body('abc'), options)
      const second = await store.append(first, body('def'), options)
      assert.deepEqual(publicFields(second), publicFields(await loaded(store, second)))
      await store.publish(second)
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
      await store.remove(second)
      assert.deepEqual(await listed(store), [])
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
    }),
    test('release() leaves the session usable and can be called twice', async (setting) => {
      const { store, published } = setting
      // Where there is no release() nothing is kept.
      const released = (session: Session): Session => {
        store.release?.(session)
        store.release?.(session)
        return session
      }
      const options = { total: 6, durable: true }
      const session = released(await store.create(newSession()))
      const first = released(await store.append(session, body('abc'), options))
      const second = released(await store.append(first, body('def'), options))
      await store.accept(second, { publish: true })
      await store.publish(released(second))
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
      await store.remove(released(second))
      assert.deepEqual(await listed(store), [])
    }),
    test('load() returns undefined for an unknown id', async ({ store }) => {
      assert.equal(await store.load(newSession().id), undefined)
      await createSession(store)
      assert.equal(await store.load(newSession().id), undefined)
    }),
    test('load() returns a snapshot that a later append() does not change', async ({ store }) => {
      const before = await createSession(store)
      await appended(store, before, body('abc'), { total: 3 })
      assert.equal((await loaded(store, before)).received, 3)
      assert.deepEqual([before.state, before.received, before.total], ['receiving', 0, undefined])
    }),
    test('create() allows several open sessions for the same name', async ({ store }) => {
      const sessions = await Promise.all(Array.from({ length: 5 }, () => createSession(store)))
      assert.deepEqual(await listed(store), sessions.map(({ id }) => id).sort())
    }),
    test('24 concurrent sessions keep their own name, owner, metadata and bytes', async ({ store }) => {
      const files = Array.from({ length: 24 }, (_, i) => patternBytes(3000 + i, i * 1000))
      const names = files.map((_, i) => `${i}.bin`)
      const sessions = await Promise.all(
        names.map((name, i) => createSession(store, { name, owner: `owner ${i}`, metadata: { i: `${i}` } })),
      )
      for (const from of [0, 1000, 2000]) {
        await Promise.all(
          files.map((file, i) => {
            const fragment = file.subarray(from, from === 2000 ? undefined : from + 1000)
            return appended(store, sessions[i] as NewSession, body(fragment), { total: file.length })
          }),
        )
      }
      for (const [i, session] of sessions.entries()) {
        const now = await loaded(store, session)
        assert.deepEqual([now.name, now.owner, now.metadata], [`${i}.bin`, `owner ${i}`, { i: `${i}` }])
        assertBytes(await readAll(store.read(now)), files[i] ?? '', `file ${i}`)
      }
    }),
    test('publish() uses names with unusual characters unchanged', async ({ store, published }) => {
      for (const name of oddNames)
        await publishSession(store, await completeSession(store, `I am ${name}`, { name }))
      for (const name of oddNames) assertBytes(await published(name), `I am ${name}`, name)
    }),
    test('publish() uses names with folders unchanged', async (setting, { folders, missingFolders }) => {
      const { store, published } = setting
      const name = 'logs/Zürich/2026 11/a.bin'
      if (folders && missingFolders) await setting.makeFolder('logs/Zürich/2026 11')
      await publishSession(store, await completeSession(store, 'abc', { name }))
      assertBytes(await published(name), 'abc', name)
      assert.equal(await published('a.bin'), undefined)
    }),
    test('create() rejects a taken name with destination-exists and adds no session', async (setting) => {
      const { store, published } = setting
      const first = await publishSession(store, await completeSession(store, 'abc'))
      const session = newSession()
      await assertRejectsWith(store.create(session), 'destination-exists')
      assert.equal(await store.load(session.id), undefined)
      assert.deepEqual(await listed(store), [first.id])
      assertBytes(await published('a.bin'), 'abc', 'the file')
      await store.create(newSession({ overwrite: true }))
    }),
    test(
      'create() rejects a folder name with invalid-destination and adds no session',
      async (setting) => {
        const { store } = setting
        await setting.makeFolder('logs')
        for (const overwrite of [false, true]) {
          const session = newSession({ name: 'logs', overwrite })
          await assertRejectsWith(store.create(session), 'invalid-destination')
          assert.equal(await store.load(session.id), undefined)
        }
        assert.deepEqual(await listed(store), [])
      },
      'folders',
    ),
    test(
      'create() rejects names below files with destination-not-found and adds no session',
      async ({ store }) => {
        const file = await publishSession(store, await completeSession(store, 'abc'))
        const session = newSession({ name: 'a.bin/b.bin' })
        await assertRejectsWith(store.create(session), 'destination-not-found')
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [file.id])
      },
      'folders',
    ),
    test(
      'create() rejects a missing folder with destination-not-found and adds no session',
      async (setting) => {
        const { store } = setting
        const session = newSession({ name: 'logs/a.bin' })
        await assertRejectsWith(store.create(session), 'destination-not-found')
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listed(store), [])
        await setting.makeFolder('logs')
        await createSession(store, { name: 'logs/a.bin' })
      },
      'folders',
      'missingFolders',
    ),
    test('an aborted create() leaves a complete session or none', async ({ store }) => {
      const session = newSession({ metadata: { a: 'b' } })
      const controller = new AbortController()
      const created = store.create(session, { signal: controller.signal }).then(
        () => true,
        () => false,
      )
      controller.abort(new Error('nobody waits'))
      const isCreated = await created
      const found = await store.load(session.id)
      if (isCreated) assert.ok(found, 'create() resolved')
      if (found) assert.deepEqual(publicFields(found), { ...session, state: 'receiving', received: 0 })
      assert.deepEqual(await listed(store), found ? [session.id] : [])
    }),
    test(
      'load() returns state gone when the bytes are lost, and append() starts again at 0',
      async (setting) => {
        const { store, published, loseBytes } = setting
        const session = await completeSession(store, 'abcdef')
        await store.accept(await loaded(store, session), { publish: true })
        await loseBytes(await loaded(store, session))
        const gone = await loaded(store, session)
        assert.deepEqual([gone.state, gone.received, gone.total], ['lost', 0, 6])
        const anew = await store.append(gone, body('ABC'), { total: 6, durable: false })
        assert.deepEqual(publicFields(anew), publicFields(await loaded(store, session)))
        // What vanished was accepted, not what came in its place.
        assert.deepEqual([anew.state, anew.received, anew.decision], ['receiving', 3, undefined])
        await appended(store, session, body('DEF'), { total: 6, durable: true })
        await assertHeld(store, session, 'ABCDEF')
        await publishSession(store, session)
        assertBytes(await published('a.bin'), 'ABCDEF', 'the file')
      },
      'losses',
    ),
    test(
      'remove() deletes a session with lost bytes',
      async (setting) => {
        const { store, loseBytes } = setting
        const session = await completeSession(store, 'abc')
        await loseBytes(session)
        await store.remove(await loaded(store, session))
        assert.deepEqual(await listed(store), [])
      },
      'losses',
    ),
  ],
}

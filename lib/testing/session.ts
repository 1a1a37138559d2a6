import assert from 'node:assert/strict'
import type { NewSession, Session } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertRejectsWith,
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

/** Every field of a new session, with legal but rare characters and extreme values. */
const unusual: Partial<NewSession> = {
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
    ['__proto__', 'an ordinary name'],
  ]),
  created: Date.UTC(1999, 11, 31),
}

/** Unusual names that `checkName` accepts. */
const unusualNames = [
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
      assert.deepEqual(publicFields(await loadExisting(store, session)), {
        ...session,
        state: 'receiving',
        received: 0,
      })
      const { updatedAt } = await loadExisting(store, session)
      // An hour tolerates the wrong clock of a remote service, and detects seconds instead of milliseconds.
      assert.ok(Math.abs(updatedAt - session.created) < hour, `updatedAt: ${updatedAt}`)
    }),
    test('load() returns unusual ids, paths, owners and metadata unchanged', async ({ store }) => {
      const session = newSession(unusual)
      await store.create(session)
      assert.deepEqual(publicFields(await loadExisting(store, session)), {
        ...session,
        state: 'receiving',
        received: 0,
      })
    }),
    test(
      'load() returns unusual ids, paths, owners and metadata unchanged after a restart',
      async (fixture) => {
        const session = newSession(unusual)
        await fixture.store.create(session)
        const after = await loadExisting(await fixture.reopen(), session)
        assert.deepEqual(publicFields(after), { ...session, state: 'receiving', received: 0 })
      },
      'restart',
    ),
    test('create() returns the same session fields as load()', async ({ store }) => {
      for (const more of [{}, { ...unusual, created: Date.now() }]) {
        const session = await store.create(newSession(more))
        const after = await loadExisting(store, session)
        assert.deepEqual(publicFields(session), publicFields(after))
        const difference = session.updatedAt - after.updatedAt
        assert.ok(Math.abs(difference) < hour, `updatedAt: ${session.updatedAt}`)
      }
    }),
    test('create() returns a session that needs no load() until remove()', async (fixture) => {
      const { store, published } = fixture
      const options = { total: 6, durable: true }
      const first = await store.append(await store.create(newSession()), bodyOf('abc'), options)
      const second = await store.append(first, bodyOf('def'), options)
      assert.deepEqual(publicFields(second), publicFields(await loadExisting(store, second)))
      await store.publish(second)
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
      await store.remove(second)
      assert.deepEqual(await listIds(store), [])
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
    }),
    test('release() leaves the session usable and can be called twice', async (fixture) => {
      const { store, published } = fixture
      // A store without release() passes.
      const released = (session: Session): Session => {
        store.release?.(session)
        store.release?.(session)
        return session
      }
      const options = { total: 6, durable: true }
      const session = released(await store.create(newSession()))
      const first = released(await store.append(session, bodyOf('abc'), options))
      const second = released(await store.append(first, bodyOf('def'), options))
      await store.accept(second, { publish: true })
      await store.publish(released(second))
      assertBytes(await published('a.bin'), 'abcdef', 'the file')
      await store.remove(released(second))
      assert.deepEqual(await listIds(store), [])
    }),
    test('load() returns undefined for an unknown id', async ({ store }) => {
      assert.equal(await store.load(newSession().id), undefined)
      await createTestSession(store)
      assert.equal(await store.load(newSession().id), undefined)
    }),
    test('load() returns a snapshot that a later append() does not change', async ({ store }) => {
      const before = await createTestSession(store)
      await loadAndAppend(store, before, bodyOf('abc'), { total: 3 })
      assert.equal((await loadExisting(store, before)).received, 3)
      assert.deepEqual([before.state, before.received, before.total], ['receiving', 0, undefined])
    }),
    test('create() allows several open sessions for the same name', async ({ store }) => {
      const sessions = await Promise.all(Array.from({ length: 5 }, () => createTestSession(store)))
      assert.deepEqual(await listIds(store), sessions.map(({ id }) => id).sort())
    }),
    test('24 concurrent sessions keep their own name, owner, metadata and bytes', async ({ store }) => {
      const files = Array.from({ length: 24 }, (_, i) => patternBytes(3000 + i, i * 1000))
      const names = files.map((_, i) => `${i}.bin`)
      const sessions = await Promise.all(
        names.map((name, i) =>
          createTestSession(store, { name, owner: `owner ${i}`, metadata: { i: `${i}` } }),
        ),
      )
      for (const from of [0, 1000, 2000]) {
        await Promise.all(
          files.map((file, i) => {
            const fragment = file.subarray(from, from === 2000 ? undefined : from + 1000)
            return loadAndAppend(store, sessions[i] as NewSession, bodyOf(fragment), { total: file.length })
          }),
        )
      }
      for (const [i, session] of sessions.entries()) {
        const now = await loadExisting(store, session)
        assert.deepEqual([now.name, now.owner, now.metadata], [`${i}.bin`, `owner ${i}`, { i: `${i}` }])
        assertBytes(await readStream(store.read(now)), files[i] ?? '', `file ${i}`)
      }
    }),
    test('publish() uses names with unusual characters unchanged', async ({ store, published }) => {
      for (const name of unusualNames)
        await loadAndPublish(store, await createCompleteSession(store, `I am ${name}`, { name }))
      for (const name of unusualNames) assertBytes(await published(name), `I am ${name}`, name)
    }),
    test('publish() uses names with folders unchanged', async (fixture, { folders, missingFolders }) => {
      const { store, published } = fixture
      const name = 'logs/Zürich/2026 11/a.bin'
      if (folders && missingFolders) await fixture.makeFolder('logs/Zürich/2026 11')
      await loadAndPublish(store, await createCompleteSession(store, 'abc', { name }))
      assertBytes(await published(name), 'abc', name)
      assert.equal(await published('a.bin'), undefined)
    }),
    test('create() rejects a taken name with destination-exists and adds no session', async (fixture) => {
      const { store, published } = fixture
      const first = await loadAndPublish(store, await createCompleteSession(store, 'abc'))
      const session = newSession()
      await assertRejectsWith(store.create(session), 'destination-exists')
      assert.equal(await store.load(session.id), undefined)
      assert.deepEqual(await listIds(store), [first.id])
      assertBytes(await published('a.bin'), 'abc', 'the file')
      await store.create(newSession({ overwrite: true }))
    }),
    test(
      'create() rejects a folder name with invalid-destination and adds no session',
      async (fixture) => {
        const { store } = fixture
        await fixture.makeFolder('logs')
        for (const overwrite of [false, true]) {
          const session = newSession({ name: 'logs', overwrite })
          await assertRejectsWith(store.create(session), 'invalid-destination')
          assert.equal(await store.load(session.id), undefined)
        }
        assert.deepEqual(await listIds(store), [])
      },
      'folders',
    ),
    test(
      'create() rejects names below files with destination-not-found and adds no session',
      async ({ store }) => {
        const file = await loadAndPublish(store, await createCompleteSession(store, 'abc'))
        const session = newSession({ name: 'a.bin/b.bin' })
        await assertRejectsWith(store.create(session), 'destination-not-found')
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listIds(store), [file.id])
      },
      'folders',
    ),
    test(
      'create() rejects a missing folder with destination-not-found and adds no session',
      async (fixture) => {
        const { store } = fixture
        const session = newSession({ name: 'logs/a.bin' })
        await assertRejectsWith(store.create(session), 'destination-not-found')
        assert.equal(await store.load(session.id), undefined)
        assert.deepEqual(await listIds(store), [])
        await fixture.makeFolder('logs')
        await createTestSession(store, { name: 'logs/a.bin' })
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
      controller.abort(new Error('aborted by the test'))
      const isCreated = await created
      const current = await store.load(session.id)
      if (isCreated) assert.ok(current, 'create() resolved, but load() returned undefined')
      if (current) assert.deepEqual(publicFields(current), { ...session, state: 'receiving', received: 0 })
      assert.deepEqual(await listIds(store), current ? [session.id] : [])
    }),
    test(
      'load() returns state lost when the bytes are lost, and append() starts again at 0',
      async (fixture) => {
        const { store, published, loseBytes } = fixture
        const session = await createCompleteSession(store, 'abcdef')
        await store.accept(await loadExisting(store, session), { publish: true })
        await loseBytes(await loadExisting(store, session))
        const lost = await loadExisting(store, session)
        assert.deepEqual([lost.state, lost.received, lost.total], ['lost', 0, 6])
        const restarted = await store.append(lost, bodyOf('ABC'), { total: 6, durable: false })
        assert.deepEqual(publicFields(restarted), publicFields(await loadExisting(store, session)))
        // The decision applied to the lost bytes, not to the new ones.
        assert.deepEqual(
          [restarted.state, restarted.received, restarted.decision],
          ['receiving', 3, undefined],
        )
        await loadAndAppend(store, session, bodyOf('DEF'), { total: 6, durable: true })
        await assertHeld(store, session, 'ABCDEF')
        await loadAndPublish(store, session)
        assertBytes(await published('a.bin'), 'ABCDEF', 'the file')
      },
      'losses',
    ),
    test(
      'remove() deletes a session with lost bytes',
      async (fixture) => {
        const { store, loseBytes } = fixture
        const session = await createCompleteSession(store, 'abc')
        await loseBytes(session)
        await store.remove(await loadExisting(store, session))
        assert.deepEqual(await listIds(store), [])
      },
      'losses',
    ),
  ],
}

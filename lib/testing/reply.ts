import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import type { Session, Store, StoredReply } from '../stores/store.ts'
import { type Section, test } from './contract-test.ts'
import {
  assertBytes,
  bodyOf,
  createCompleteSession,
  loadAndPublish,
  loadExisting,
  nextMillisecond,
  patternBytes,
  readStream,
} from './helpers.ts'

/** Loads the reply to a session; fails if there is none. */
async function loadExistingReply(store: Store, session: Session): Promise<StoredReply> {
  const reply = await store.loadReply(await loadExisting(store, session))
  assert.ok(reply, 'loadReply() returned undefined')
  return reply
}

/** Checks the size and all bytes of the reply. */
async function assertReply(store: Store, session: Session, expected: string | Uint8Array): Promise<void> {
  const reply = await loadExistingReply(store, session)
  const { length } = Buffer.from(expected)
  assert.equal(reply.size, length, 'size')
  if (length > 0) assertBytes(await readStream(reply.read(0, length - 1)), expected, 'the reply')
}

export const replySection: Section = {
  name: 'saveReply() and loadReply()',
  tests: [
    test('loadReply() returns undefined before saveReply()', async ({ store }) => {
      assert.equal(await store.loadReply(await createCompleteSession(store, 'abc')), undefined)
    }),
    test('saveReply() stores a reply of 200,001 bytes unchanged', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      const reply = patternBytes(200_001)
      await store.saveReply(session, bodyOf(reply.subarray(0, 70_000), reply.subarray(70_000)))
      await assertReply(store, session, reply)
    }),
    test('read() returns inclusive byte ranges, in any order and concurrently', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf('the ', 'reply'))
      const reply = await loadExistingReply(store, session)
      const ranges = [
        [4, 6, 'rep'],
        [0, 0, 't'],
        [8, 8, 'y'],
        [0, 8, 'the reply'],
        [2, 5, 'e re'],
      ] as const
      const parts = await Promise.all(ranges.map(([first, last]) => readStream(reply.read(first, last))))
      for (const [i, [first, last, text]] of ranges.entries()) {
        assertBytes(parts[i], text, `bytes ${first}-${last}`)
      }
    }),
    test('saveReply() replaces an earlier, longer reply', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf('an earlier, longer one'))
      await store.saveReply(session, bodyOf('later'))
      await assertReply(store, session, 'later')
    }),
    test('loadReply() returns an empty reply with size 0', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf())
      await assertReply(store, session, '')
    }),
    test('saveReply() rejects with the body error, and the next reply is complete', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      for (const batches of [[], ['a longer one'], ['a', ' longer', ' one']]) {
        const error = new Error('the application failed')
        const saved = store.saveReply(session, bodyOf(...batches, error))
        await assert.rejects(saved, (thrown) => thrown === error)
      }
      await store.saveReply(session, bodyOf('the reply'))
      await assertReply(store, session, 'the reply')
    }),
    test('an aborted saveReply() resolves only if the complete reply is stored', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      for (const point of [0, 1, 2]) {
        const controller = new AbortController()
        async function* bytes() {
          for (const [i, batch] of ['one ', 'two'].entries()) {
            if (i === point) controller.abort(new Error('aborted by the test'))
            yield [Buffer.from(batch)]
          }
          controller.abort(new Error('aborted by the test'))
        }
        const saved = store.saveReply(session, bytes(), { signal: controller.signal }).then(
          () => true,
          () => false,
        )
        if (await saved) await assertReply(store, session, 'one two')
      }
      await store.saveReply(session, bodyOf('the reply'))
      await assertReply(store, session, 'the reply')
    }),
    test('saveReply() writes each batch before requesting the next one', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      const memory = Buffer.alloc(3)
      async function* bytes() {
        for (const text of ['abc', 'def']) {
          memory.write(text)
          yield [memory]
        }
      }
      await store.saveReply(session, bytes())
      memory.fill('x')
      await assertReply(store, session, 'abcdef')
    }),
    test('loadReply() returns the same reply after accept() and publish()', async ({ store, published }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf('the reply'))
      const first = await loadExistingReply(store, session)
      assert.equal(typeof first.modified, 'number')
      await store.accept(await loadExisting(store, session), { publish: true, reply: 'stored' })
      await nextMillisecond()
      assert.equal((await loadExistingReply(store, session)).modified, first.modified, 'modified')
      await loadAndPublish(store, session)
      assert.equal((await loadExistingReply(store, session)).modified, first.modified, 'modified')
      await assertReply(store, session, 'the reply')
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    test(
      'loadReply() returns the same reply after a restart',
      async (fixture) => {
        const { store } = fixture
        const session = await createCompleteSession(store, 'abc')
        await store.saveReply(session, bodyOf('the reply'))
        await store.accept(await loadExisting(store, session), { publish: true, reply: 'stored' })
        await loadAndPublish(store, session)
        const { modified } = await loadExistingReply(store, session)
        const later = await fixture.reopen()
        await nextMillisecond()
        assert.equal((await loadExistingReply(later, session)).modified, modified, 'modified')
        await assertReply(later, session, 'the reply')
      },
      'restart',
    ),
    test('loadReply() returns the reply of its own session only', async ({ store }) => {
      const sessions = [
        await createCompleteSession(store, 'abc'),
        await createCompleteSession(store, 'xyz'),
      ] as const
      await store.saveReply(sessions[0], bodyOf('to abc'))
      assert.equal(await store.loadReply(sessions[1]), undefined)
      await store.saveReply(sessions[1], bodyOf('to xyz'))
      await assertReply(store, sessions[0], 'to abc')
      await assertReply(store, sessions[1], 'to xyz')
    }),
    test('remove() deletes the reply', async ({ store }) => {
      const session = await createCompleteSession(store, 'abc')
      await store.saveReply(session, bodyOf('the reply'))
      await store.remove(await loadExisting(store, session))
      assert.equal(await store.loadReply(session), undefined)
    }),
    test(
      'saveReply() without a body uses the file at paths().reply',
      async ({ store }) => {
        const session = await createCompleteSession(store, 'abc')
        assert.ok(store.paths, 'the capability paths requires paths()')
        await writeFile(store.paths(session).reply, 'the reply')
        await store.saveReply(session)
        await assertReply(store, session, 'the reply')
      },
      'paths',
    ),
    test(
      'saveReply() without a body or a file stores an empty reply',
      async ({ store }) => {
        const session = await createCompleteSession(store, 'abc')
        await store.saveReply(session)
        await assertReply(store, session, '')
      },
      'paths',
    ),
  ],
}

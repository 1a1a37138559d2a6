import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import type { Body, Session, Store } from '../stores/store.ts'
import { type ContractTest, type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  loadAndAppend,
  loadAndPublish,
  loadExisting,
  patternBytes,
  publicFields,
  readStream,
} from './helpers.ts'

/** A complete first fragment, and the three batches of a second fragment that fails. */
const before = 'held: '
const batches = ['one ', 'two ', 'three']
const whole = before + batches.join('')
const total = whole.length

const points = [
  'before the first batch',
  'after the first batch',
  'after the second batch',
  'after the last batch',
]

/** Checks the bytes held after a fragment that failed, then appends the remaining bytes. */
async function resumeAfterFailure(store: Store, session: Session, count: number): Promise<void> {
  const held = before + batches.slice(0, count).join('')
  assertSession(await loadExisting(store, session), { state: 'receiving', total })
  await assertHeld(store, session, held)
  await loadAndAppend(store, session, bodyOf(whole.slice(held.length)), { total, durable: true })
  await assertHeld(store, session, whole)
}

const interruptedTests = (point: string, count: number): ContractTest[] => {
  const appendFailing = async (store: Store, session: Session) => {
    await loadAndAppend(store, session, bodyOf(before), { total })
    const error = new Error('the connection was lost')
    const bytes = bodyOf(...batches.slice(0, count), error)
    await assert.rejects(loadAndAppend(store, session, bytes, { total }), (thrown) => thrown === error)
  }
  return [
    test(`keeps the bytes and rejects with the error of a body that fails ${point}`, async ({ store }) => {
      const session = await createTestSession(store)
      await appendFailing(store, session)
      await resumeAfterFailure(store, session, count)
    }),
    test(
      `keeps the bytes of a body that fails ${point} across a restart`,
      async (fixture) => {
        const session = await createTestSession(fixture.store)
        await appendFailing(fixture.store, session)
        await resumeAfterFailure(await fixture.reopen(), session, count)
      },
      'restart',
    ),
    test(`holds every byte that load() counts when aborted ${point}`, async ({ store }) => {
      const session = await createTestSession(store)
      await loadAndAppend(store, session, bodyOf(before), { total })
      const controller = new AbortController()
      async function* bytes() {
        for (const [i, batch] of [...batches, ''].entries()) {
          if (i === count) controller.abort(new Error('aborted by the test'))
          if (batch) yield [Buffer.from(batch)]
        }
      }
      const finished = await loadAndAppend(store, session, bytes(), {
        total,
        signal: controller.signal,
      }).then(
        ({ received }) => received,
        () => undefined,
      )
      const { received } = await loadExisting(store, session)
      if (finished !== undefined) assert.deepEqual([finished, received], [total, total])
      assert.ok(received >= before.length, 'the bytes of an earlier append() were lost')
      await assertHeld(store, session, whole.slice(0, received))
      await loadAndAppend(store, session, bodyOf(whole.slice(received)), { total, durable: true })
      await assertHeld(store, session, whole)
    }),
  ]
}

/**
 * Appends empty bodies until `updatedAt` increases. The time that this takes depends on the resolution of the
 * store's clock.
 */
async function waitForNewUpdatedAt(store: Store, session: Session): Promise<void> {
  const begin = Date.now()
  for (;;) {
    const earlier = await loadExisting(store, session)
    const returned = await store.append(earlier, bodyOf(), { total: 3, durable: false })
    const now = await loadExisting(store, session)
    if (Math.min(now.updatedAt, returned.updatedAt) > earlier.updatedAt) return
    assert.ok(
      Date.now() - begin < 1500,
      `updatedAt was ${earlier.updatedAt}; append() returned ${returned.updatedAt}, load() ${now.updatedAt}`,
    )
    await new Promise(setImmediate)
  }
}

export const appendSection: Section = {
  name: 'append()',
  tests: [
    test('stores consecutive fragments in order and adds each to received', async ({ store }) => {
      const session = await createTestSession(store)
      const file = patternBytes(1000)
      let end = 0
      for (const length of [1, 4, 95, 400, 500]) {
        const batch = file.subarray(end, end + length)
        end += length
        const after = await loadAndAppend(store, session, bodyOf(batch), {
          total: 1000,
          durable: end === 1000,
        })
        assertSession(after, { received: end, total: 1000, state: 'receiving' })
        await assertHeld(store, session, file.subarray(0, end))
      }
    }),
    test('returns the same session fields as load()', async ({ store }) => {
      const session = await createTestSession(store, { owner: 'ann', metadata: { shop: '7' } })
      for (const text of ['ab', '', 'c']) {
        const after = await loadAndAppend(store, session, bodyOf(text), { total: 3 })
        assert.deepEqual(publicFields(after), publicFields(await loadExisting(store, session)))
      }
    }),
    test('sets total with the first fragment, even an empty one', async ({ store }) => {
      const session = await createTestSession(store)
      assert.equal(session.total, undefined)
      await loadAndAppend(store, session, bodyOf(), { total: 7 })
      assert.equal((await loadExisting(store, session)).total, 7)
      await loadAndAppend(store, session, bodyOf('abc'), { total: 7 })
      assert.equal((await loadExisting(store, session)).total, 7)
    }),
    test('updates updatedAt and changes no bytes for an empty body', async ({ store }) => {
      const session = await createTestSession(store)
      await loadAndAppend(store, session, bodyOf('abc'), { total: 3 })
      await waitForNewUpdatedAt(store, session)
      await assertHeld(store, session, 'abc')
    }),
    test('returns received 0 and total 0 for an empty file', async ({ store }) => {
      const session = await createCompleteSession(store, '')
      assertSession(session, { received: 0, total: 0, state: 'receiving' })
      assert.deepEqual(publicFields(await loadExisting(store, session)), publicFields(session))
      await assertHeld(store, session, '')
    }),
    test('accepts empty batches, plain Uint8Array views and a batch of 3000 chunks', async ({ store }) => {
      const session = await createTestSession(store)
      const file = patternBytes(70_000)
      async function* bytes() {
        yield []
        yield [new Uint8Array(0)]
        // Views of a larger ArrayBuffer; the first one is not a Buffer.
        yield [new Uint8Array(file.buffer, file.byteOffset, 3), file.subarray(3, 3), file.subarray(3, 1000)]
        // More chunks than one writev() accepts (IOV_MAX, 1024 on Linux).
        yield Array.from({ length: 3000 }, (_, i) => file.subarray(1000 + i, 1001 + i))
        yield [file.subarray(4000, 4000), file.subarray(4000)]
      }
      const after = await loadAndAppend(store, session, bytes(), { total: file.length })
      assert.equal(after.received, file.length)
      await assertHeld(store, session, file)
    }),
    test('stores the batches of a 3 MB fragment in order', async ({ store }) => {
      const session = await createTestSession(store)
      const file = patternBytes(3_000_000)
      const parts = Array.from({ length: 47 }, (_, i) => file.subarray(i * 65_536, (i + 1) * 65_536))
      await loadAndAppend(store, session, bodyOf(...parts), { total: file.length })
      await assertHeld(store, session, file)
    }),
    test('writes each batch before requesting the next one', async ({ store }) => {
      const session = await createTestSession(store)
      // The body overwrites this memory for each batch.
      const memory = Buffer.alloc(100)
      let pending = 0
      const bytes: Body = {
        [Symbol.asyncIterator]: () => ({
          async next() {
            pending += 1
            assert.equal(pending, 1, 'two batches are requested at once')
            await new Promise(setImmediate)
            pending -= 1
            const start = memory[99] === 0 ? 0 : memory.readUInt32BE(96) + 1
            if (start === 100) return { done: true, value: undefined }
            patternBytes(100, start).copy(memory)
            return { done: false, value: [memory] }
          },
        }),
      }
      await loadAndAppend(store, session, bytes, { total: 400 })
      memory.fill(0xff)
      await assertHeld(store, session, patternBytes(400))
    }),
    ...points.flatMap(interruptedTests),
    test(
      'keeps bytes, received and total across a restart after every fragment',
      async (fixture) => {
        let { store } = fixture
        const session = await createTestSession(store)
        const file = patternBytes(900)
        for (let end = 300; end <= 900; end += 300) {
          await loadAndAppend(store, session, bodyOf(file.subarray(end - 300, end)), {
            total: 900,
            durable: end === 900,
          })
          store = await fixture.reopen()
          assertSession(await loadExisting(store, session), { received: end, total: 900, state: 'receiving' })
          await assertHeld(store, session, file.subarray(0, end))
        }
      },
      'restart',
    ),
    test(
      'writes at offsets above 4 GiB, and the file can be published',
      async ({ store, published, growTo }) => {
        const boundary = 2 ** 32
        const session = await createTestSession(store)
        await loadAndAppend(store, session, bodyOf('begin'), { total: boundary + 8 })
        await growTo(await loadExisting(store, session), boundary - 2)
        assert.equal((await loadExisting(store, session)).received, boundary - 2)
        const across = await loadAndAppend(store, session, bodyOf('ab', 'cd'), { total: boundary + 8 })
        assertSession(across, { received: boundary + 2, total: boundary + 8 })
        const end = await loadAndAppend(store, session, bodyOf('efghij'), {
          total: boundary + 8,
          durable: true,
        })
        assert.deepEqual(publicFields(end), publicFields(await loadExisting(store, session)))
        assertSession(end, { received: boundary + 8, state: 'receiving' })
        assertSession(await loadAndPublish(store, session), { received: boundary + 8, total: boundary + 8 })
        assertBytes(await published('a.bin', boundary - 4), '\0\0abcdefghij', 'the end of the file')
      },
      'bigOffsets',
    ),
    test('stores bytes that read() returns in full after an earlier stream was destroyed', async ({
      store,
    }) => {
      const session = await createCompleteSession(store, patternBytes(300_000))
      const first = store.read(session)
      for await (const chunk of first) {
        assert.ok(chunk.length > 0)
        break
      }
      assert.ok(first.destroyed)
      assertBytes(await readStream(store.read(session)), patternBytes(300_000), 'read()')
    }),
    test(
      'stores the bytes in the file at paths().upload',
      async ({ store }) => {
        const session = await createCompleteSession(store, 'abc')
        assert.ok(store.paths, 'the capability paths requires paths()')
        assertBytes(await readFile(store.paths(session).upload), 'abc', 'paths().upload')
      },
      'paths',
    ),
  ],
}

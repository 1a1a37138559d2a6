import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import type { Body, Session, Store } from '../stores/store.ts'
import { type ContractTest, type Section, test } from './contract-test.ts'
import {
  appended,
  assertBytes,
  assertHeld,
  assertSession,
  body,
  completeSession,
  createSession,
  loaded,
  patternBytes,
  publicFields,
  publishSession,
  readAll,
} from './helpers.ts'

/** The three batches of a fragment that breaks off, behind a fragment that did not. */
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

/** Checks what is left of a fragment that broke off, and goes on with it. */
async function goOn(store: Store, session: Session, count: number): Promise<void> {
  const held = before + batches.slice(0, count).join('')
  assertSession(await loaded(store, session), { state: 'receiving', total })
  await assertHeld(store, session, held)
  await appended(store, session, body(whole.slice(held.length)), { total, durable: true })
  await assertHeld(store, session, whole)
}

const broken = (point: string, count: number): ContractTest[] => {
  const breakOff = async (store: Store, session: Session) => {
    await appended(store, session, body(before), { total })
    const error = new Error('the line is cut')
    const bytes = body(...batches.slice(0, count), error)
    await assert.rejects(appended(store, session, bytes, { total }), (thrown) => thrown === error)
  }
  return [
    test(`keeps the bytes and rejects with the error of a body that fails ${point}`, async ({ store }) => {
      const session = await createSession(store)
      await breakOff(store, session)
      await goOn(store, session, count)
    }),
    test(
      `keeps the bytes of a body that fails ${point} across a restart`,
      async (setting) => {
        const session = await createSession(setting.store)
        await breakOff(setting.store, session)
        await goOn(await setting.reopen(), session, count)
      },
      'restart',
    ),
    test(`holds every byte that load() counts when aborted ${point}`, async ({ store }) => {
      const session = await createSession(store)
      await appended(store, session, body(before), { total })
      const controller = new AbortController()
      async function* bytes() {
        for (const [i, batch] of [...batches, ''].entries()) {
          if (i === count) controller.abort(new Error('nobody waits'))
          if (batch) yield [Buffer.from(batch)]
        }
      }
      const finished = await appended(store, session, bytes(), { total, signal: controller.signal }).then(
        ({ received }) => received,
        () => undefined,
      )
      const { received } = await loaded(store, session)
      if (finished !== undefined) assert.deepEqual([finished, received], [total, total])
      assert.ok(received >= before.length, 'what was held before is still held')
      await assertHeld(store, session, whole.slice(0, received))
      await appended(store, session, body(whole.slice(received)), { total, durable: true })
      await assertHeld(store, session, whole)
    }),
  ]
}

/** Appends nothing until the clock has moved on, which takes as long as the store's clock is coarse. */
async function untilProgress(store: Store, session: Session): Promise<void> {
  const begin = Date.now()
  for (;;) {
    const earlier = await loaded(store, session)
    const returned = await store.append(earlier, body(), { total: 3, durable: false })
    const now = await loaded(store, session)
    if (Math.min(now.updatedAt, returned.updatedAt) > earlier.updatedAt) return
    assert.ok(
      Date.now() - begin < 1500,
      `updatedAt was ${earlier.updatedAt}, is to append() ${returned.updatedAt}, to load() ${now.updatedAt}`,
    )
    await new Promise(setImmediate)
  }
}

export const appendSection: Section = {
  name: 'append()',
  tests: [
    test('stores consecutive fragments in order and adds each to received', async ({ store }) => {
      const session = await createSession(store)
      const file = patternBytes(1000)
      let end = 0
      for (const length of [1, 4, 95, 400, 500]) {
        const batch = file.subarray(end, end + length)
        end += length
        const after = await appended(store, session, body(batch), { total: 1000, durable: end === 1000 })
        assertSession(after, { received: end, total: 1000, state: 'receiving' })
        await assertHeld(store, session, file.subarray(0, end))
      }
    }),
    test('returns the same session fields as load()', async ({ store }) => {
      const session = await createSession(store, { owner: 'ann', metadata: { shop: '7' } })
      for (const text of ['ab', '', 'c']) {
        const after = await appended(store, session, body(text), { total: 3 })
        assert.deepEqual(publicFields(after), publicFields(await loaded(store, session)))
      }
    }),
    test('sets total with the first fragment, even an empty one', async ({ store }) => {
      const session = await createSession(store)
      assert.equal(session.total, undefined)
      await appended(store, session, body(), { total: 7 })
      assert.equal((await loaded(store, session)).total, 7)
      await appended(store, session, body('abc'), { total: 7 })
      assert.equal((await loaded(store, session)).total, 7)
    }),
    test('updates updatedAt and changes no bytes for an empty body', async ({ store }) => {
      const session = await createSession(store)
      await appended(store, session, body('abc'), { total: 3 })
      await untilProgress(store, session)
      await assertHeld(store, session, 'abc')
    }),
    test('returns received 0 and total 0 for an empty file', async ({ store }) => {
      const session = await completeSession(store, '')
      assertSession(session, { received: 0, total: 0, state: 'receiving' })
      assert.deepEqual(publicFields(await loaded(store, session)), publicFields(session))
      await assertHeld(store, session, '')
    }),
    test('accepts empty batches, plain Uint8Array views and a batch of 3000 chunks', async ({ store }) => {
      const session = await createSession(store)
      const file = patternBytes(70_000)
      async function* bytes() {
        yield []
        yield [new Uint8Array(0)]
        // Views of a buffer that has more, and no Buffers.
        yield [new Uint8Array(file.buffer, file.byteOffset, 3), file.subarray(3, 3), file.subarray(3, 1000)]
        // More than one call of the system takes.
        yield Array.from({ length: 3000 }, (_, i) => file.subarray(1000 + i, 1001 + i))
        yield [file.subarray(4000, 4000), file.subarray(4000)]
      }
      const after = await appended(store, session, bytes(), { total: file.length })
      assert.equal(after.received, file.length)
      await assertHeld(store, session, file)
    }),
    test('stores the batches of a 3 MB fragment in order', async ({ store }) => {
      const session = await createSession(store)
      const file = patternBytes(3_000_000)
      const parts = Array.from({ length: 47 }, (_, i) => file.subarray(i * 65_536, (i + 1) * 65_536))
      await appended(store, session, body(...parts), { total: file.length })
      await assertHeld(store, session, file)
    }),
    test('writes each batch before requesting the next one', async ({ store }) => {
      const session = await createSession(store)
      // Whoever gives it may use its memory again.
      const memory = Buffer.alloc(100)
      let asked = 0
      const bytes: Body = {
        [Symbol.asyncIterator]: () => ({
          async next() {
            asked += 1
            assert.equal(asked, 1, 'two batches are asked for at once')
            await new Promise(setImmediate)
            asked -= 1
            const start = memory[99] === 0 ? 0 : memory.readUInt32BE(96) + 1
            if (start === 100) return { done: true, value: undefined }
            patternBytes(100, start).copy(memory)
            return { done: false, value: [memory] }
          },
        }),
      }
      await appended(store, session, bytes, { total: 400 })
      memory.fill(0xff)
      await assertHeld(store, session, patternBytes(400))
    }),
    ...points.flatMap(broken),
    test(
      'keeps bytes, received and total across a restart after every fragment',
      async (setting) => {
        let { store } = setting
        const session = await createSession(store)
        const file = patternBytes(900)
        for (let end = 300; end <= 900; end += 300) {
          await appended(store, session, body(file.subarray(end - 300, end)), {
            total: 900,
            durable: end === 900,
          })
          store = await setting.reopen()
          assertSession(await loaded(store, session), { received: end, total: 900, state: 'receiving' })
          await assertHeld(store, session, file.subarray(0, end))
        }
      },
      'restart',
    ),
    test(
      'writes at offsets above 4 GiB, and the file can be published',
      async ({ store, published, growTo }) => {
        const edge = 2 ** 32
        const session = await createSession(store)
        await appended(store, session, body('begin'), { total: edge + 8 })
        await growTo(await loaded(store, session), edge - 2)
        assert.equal((await loaded(store, session)).received, edge - 2)
        const across = await appended(store, session, body('ab', 'cd'), { total: edge + 8 })
        assertSession(across, { received: edge + 2, total: edge + 8 })
        const end = await appended(store, session, body('efghij'), { total: edge + 8, durable: true })
        assert.deepEqual(publicFields(end), publicFields(await loaded(store, session)))
        assertSession(end, { received: edge + 8, state: 'receiving' })
        assertSession(await publishSession(store, session), { received: edge + 8, total: edge + 8 })
        assertBytes(await published('a.bin', edge - 4), '\0\0abcdefghij', 'the end of the file')
      },
      'bigOffsets',
    ),
    test('stores bytes that read() returns in full after an earlier stream was destroyed', async ({
      store,
    }) => {
      const session = await completeSession(store, patternBytes(300_000))
      const given = store.read(session)
      for await (const chunk of given) {
        assert.ok(chunk.length > 0)
        break
      }
      assert.ok(given.destroyed)
      assertBytes(await readAll(store.read(session)), patternBytes(300_000), 'read()')
    }),
    test(
      'stores the bytes in the file at paths().upload',
      async ({ store }) => {
        const session = await completeSession(store, 'abc')
        assert.ok(store.paths, 'supports.paths: there has to be paths()')
        assertBytes(await readFile(store.paths(session).upload), 'abc', 'paths().upload')
      },
      'paths',
    ),
  ],
}

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type FileSystem, fileStore, memoryStore, type Store } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { withTimeout } from '../../lib/stores/timeout.ts'
import { received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { watchedFileSystem } from '../support/file-system.ts'
import { withResolvers } from '../support/promise.ts'
import { uploadServer } from '../support/server.ts'
import { body, complete, listed, loaded, newSession } from '../support/store.ts'

// A call reaches its time limit when the test says so, not when the machine is slow.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** Lets the time pass after which a call of the store counts as failed. */
const reachTimeout = (): Promise<unknown> => vi.advanceTimersByTimeAsync(Timeout)
const Timeout = 1000

const never = new Promise<never>(() => {})
const hello = Buffer.from('hello')

it.each(['create', 'load', 'append', 'saveReply', 'accept', 'publish'] as const)(
  'Store timeout: returns 500 when store.%s hangs, and completes the upload once it works again',
  async (verb) => {
    const store = memoryStore()
    const called = withResolvers<void>()
    let hung = true
    const hanging = {
      ...store,
      [verb](...args: never[]) {
        called.resolve()
        return hung ? never : (store[verb] as (...args: never[]) => unknown)(...args)
      },
    }
    const { upload, url } = await uploadServer({
      store: hanging as Store,
      storeTimeout: Timeout,
      sweepEvery: 0,
      onUpload: () => 'a reply',
    })
    const errors: string[] = []
    upload.events.on('failed', ({ error }) => errors.push(error.message))
    const client = new TestClient(new URL('a.bin', url))
    if (verb !== 'create') await client.create()
    const hanged = verb === 'create' ? client.create() : client.fragment(0, hello, 5)
    await called.promise
    await reachTimeout()
    let answer = await hanged
    expect(answer.status).toBe(500)
    expect(errors[0]).toMatch(`store.${verb}() did not settle within ${Timeout} ms`)
    hung = false
    if (verb === 'create') await client.create()
    answer = await client.fragment(0, hello, 5)
    expect([answer.status, received(answer)]).toEqual([200, 5])
    expect(store.files.get('a.bin')?.toString()).toBe('hello')
  },
)

it.each(['load', 'append'] as const)(
  'Store timeout: returns 500 when store.%s hangs (real timers)',
  async (verb) => {
    vi.useRealTimers()
    const storeTimeout = 40
    const store: Store = { ...memoryStore(), [verb]: () => never }
    const { upload, url } = await uploadServer({ store, storeTimeout, sweepEvery: 0 })
    const errors: string[] = []
    upload.events.on('failed', ({ error }) => errors.push(error.message))
    const client = new TestClient(new URL('a.bin', url))
    expect((await client.create()).status).toBe(200)
    const begun = performance.now()
    expect((await client.fragment(0, hello, 5)).status).toBe(500)
    // Timers may fire up to a millisecond early.
    expect(performance.now() - begun).toBeGreaterThanOrEqual(storeTimeout - 1)
    expect(errors[0]).toMatch(`store.${verb}() did not settle within ${storeTimeout} ms`)
  },
)

it('Store timeout: excludes the time that the client takes for the body', async () => {
  const store = withTimeout(memoryStore(), Timeout)
  const session = newSession()
  await store.create(session)
  async function* slow() {
    for (const text of ['a', 'b', 'c']) {
      await vi.advanceTimersByTimeAsync(2 * Timeout)
      yield [Buffer.from(text)]
    }
  }
  const after = await store.append(await loaded(store, session.id), slow(), { total: 3, durable: true })
  expect(after.received).toBe(3)
  await store.saveReply(after, slow())
  expect(await store.loadReply(after)).toMatchObject({ size: 3 })
})

it('Store timeout: stops writing a reply after the timeout', async () => {
  const [gate, hung] = [withResolvers<void>(), withResolvers<void>()]
  let written = 0
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    writev: async (fd, buffers, position) => {
      if (written === 2) hung.resolve()
      if (written === 2) await gate.promise
      const count = await nodeFileSystem.writev(fd, buffers, position)
      written += count
      return count
    },
  }
  const files = fileStore(await temporaryDirectory(), { fileSystem })
  const session = await complete(files, 'ab')
  const closed = withResolvers<void>()
  fileSystem.close = async (fd) => {
    await nodeFileSystem.close(fd)
    closed.resolve()
  }
  const kept = withTimeout(files, Timeout).saveReply(session, body('c', 'd', 'e'))
  const failed = expect(kept).rejects.toMatchObject({ code: 'store-failed' })
  await hung.promise
  await reachTimeout()
  await failed
  gate.resolve()
  await closed.promise
  expect(written).toBe(3)
})

it('Store timeout: aborts the signal of append on timeout, and passes on an error of the body', async () => {
  const told = withResolvers<unknown>()
  const memory = memoryStore()
  const append: Store['append'] = (_, bytes, { signal }) => {
    signal?.addEventListener('abort', () => told.resolve(signal.reason))
    bytes[Symbol.asyncIterator]().next().then(reachTimeout)
    return never
  }
  const session = newSession()
  await memory.create(session)
  const hung = withTimeout({ ...memory, append }, Timeout)
  const given = hung.append(await loaded(memory, session.id), body('a'), { total: 1, durable: true })
  await expect(given).rejects.toMatchObject({ code: 'store-failed' })
  expect(await told.promise).toMatchObject({ code: 'store-failed' })
  const store = withTimeout(memory, Timeout)
  const broken = store.append(await loaded(memory, session.id), body(new Error('cut')), {
    total: 1,
    durable: true,
  })
  await expect(broken).rejects.toThrow('cut')
})

it('Store timeout: gives no more bytes to an append after the timeout', async () => {
  const gate = withResolvers<void>()
  const asked = withResolvers<unknown>()
  const memory = memoryStore()
  const append: Store['append'] = async (_, bytes) => {
    const batches = bytes[Symbol.asyncIterator]()
    await batches.next()
    void reachTimeout()
    await gate.promise
    batches.next().then(asked.resolve, asked.resolve)
    return never
  }
  const session = newSession()
  await memory.create(session)
  const hung = withTimeout({ ...memory, append }, Timeout)
  const given = hung.append(await loaded(memory, session.id), body('a', 'b'), { total: 2, durable: true })
  await expect(given).rejects.toMatchObject({ code: 'store-failed' })
  gate.resolve()
  expect(await asked.promise).toMatchObject({ code: 'store-failed' })
})

it('Store timeout: starts the body only when the store reads it', async () => {
  let isBegun = false
  const bytes = {
    [Symbol.asyncIterator]() {
      isBegun = true
      return body('a')[Symbol.asyncIterator]()
    },
  }
  const memory = memoryStore()
  const session = newSession()
  await memory.create(session)
  const append = async () => {
    throw new Error('broken')
  }
  const asked = await loaded(memory, session.id)
  const options = { total: 1, durable: true }
  await expect(withTimeout({ ...memory, append }, Timeout).append(asked, bytes, options)).rejects.toThrow(
    'broken',
  )
  expect(isBegun).toBe(false)
  expect(await withTimeout(memory, Timeout).append(asked, bytes, options)).toMatchObject({ received: 1 })
})

it('Store timeout: lists, ends a list early, and rejects with store-failed when the list hangs', async () => {
  const store = withTimeout(memoryStore(), Timeout)
  await complete(store, 'a', { name: 'a' })
  await complete(store, 'b', { name: 'b' })
  expect(await listed(store)).toHaveLength(2)
  for await (const { received } of store.list()) {
    expect(received).toBe(1)
    break
  }
  const hung: Store['list'] = () => ({ [Symbol.asyncIterator]: () => ({ next: () => never }) })
  const list = withTimeout({ ...memoryStore(), list: hung }, Timeout).list()
  const failed = expect(listed({ ...memoryStore(), list: () => list })).rejects.toMatchObject({
    code: 'store-failed',
  })
  await reachTimeout()
  await failed
})

/** The real file system, watched, and a way to have one call wait. */
function hangingFileSystem() {
  const { fileSystem, ...watched } = watchedFileSystem()
  /** The next call of this kind waits until the gate is opened, after the time limit has passed. */
  const hang = (call: 'open' | 'write' | 'fdatasync') => {
    const gate = withResolvers<void>()
    const real = fileSystem[call] as (...args: unknown[]) => Promise<unknown>
    fileSystem[call] = async (...args: never[]): Promise<never> => {
      fileSystem[call] = real as never
      void reachTimeout()
      await gate.promise
      return (await real(...args)) as never
    }
    return gate
  }
  return { fileSystem, ...watched, hang }
}

it('Store timeout: closes all files when create finishes after the timeout', async () => {
  const { fileSystem, open, hang } = hangingFileSystem()
  const files = fileStore(await temporaryDirectory(), { fileSystem })
  await files.create(newSession()).then((session) => files.release?.(session))
  await vi.waitUntil(() => open.size === 0)
  const gate = hang('write')
  const session = newSession()
  await expect(withTimeout(files, Timeout).create(session)).rejects.toMatchObject({ code: 'store-failed' })
  expect(open.size).toBe(1)
  gate.resolve()
  await vi.waitUntil(() => open.size === 0)
  expect(await files.load(session.id)).toBeDefined()
})

it('Store timeout: closes all files when an append finishes after the timeout', async () => {
  const { fileSystem, open, hang } = hangingFileSystem()
  const files = fileStore(await temporaryDirectory(), { fileSystem, durability: 'fragment' })
  const session = await files.create(newSession())
  const store = withTimeout(files, Timeout)
  const gate = hang('fdatasync')
  const given = store.append(session, body('a'), { total: 3, durable: false })
  await expect(given).rejects.toMatchObject({ code: 'store-failed' })
  store.release?.(session)
  gate.resolve()
  // What it does last.
  await vi.waitUntil(async () => open.size === 0 && (await syncedOf(session.id)) === 1)

  async function syncedOf(id: string): Promise<unknown> {
    const now = (await files.load(id)) as unknown as { record: { facts: { synced?: number } } }
    return now.record.facts.synced
  }
})

it.each([
  { boot: 'an earlier one', received: 0 },
  { boot: nodeFileSystem.boot(), received: 3 },
])('Store timeout: a late append changes no bytes of a newer one ($received bytes held)', async (scene) => {
  const directory = await temporaryDirectory()
  const session = newSession()
  const before = fileStore(directory, { fileSystem: { ...nodeFileSystem, boot: () => scene.boot } })
  const begun = await before.append(await before.create(session), body('abc'), { total: 9, durable: false })
  before.release?.(begun)
  const { fileSystem, open, closed, hang } = hangingFileSystem()
  const files = fileStore(directory, { fileSystem })
  const late = await loaded(files, session.id)
  expect(late.received).toBe(scene.received)
  const gate = hang('open')
  const given = withTimeout(files, Timeout).append(late, body('x'), { total: 9, durable: false })
  await expect(given).rejects.toMatchObject({ code: 'store-failed' })
  const rest = 'abcdef'.slice(scene.received)
  const after = await files.append(await loaded(files, session.id), body(rest), { total: 9, durable: false })
  closed.length = 0
  gate.resolve()
  // The late one's.
  await vi.waitUntil(() => closed.length > 0)
  files.release?.(after)
  await vi.waitUntil(() => open.size === 0)
  expect(await readFile(join(directory, '.bits-sessions', `${session.id}.part`), 'utf8')).toBe('abcdef')
})

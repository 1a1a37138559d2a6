import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type FileSystem, fileStore, memoryStore, type Store } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { withTimeout } from '../../lib/stores/timeout.ts'
import { received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { watchedFileSystem } from '../support/file-system.ts'
import { withResolvers } from '../support/promise.ts'
import { uploadServer } from '../support/server.ts'
import { sharedStorage } from '../support/shared-store.ts'
import { body, complete, listed, loaded, newSession } from '../support/store.ts'

// Fake timers, so that a call does not time out because the machine is slow.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** The timeout of a call in milliseconds. */
const Timeout = 1000
/** Advances the timers by the timeout of a call. */
const reachTimeout = (): Promise<unknown> => vi.advanceTimersByTimeAsync(Timeout)

const never = new Promise<never>(() => {})
const hello = Buffer.from('hello')

it.each(['create', 'load', 'append', 'saveReply', 'accept', 'publish'] as const)(
  'Store timeout: returns 500 when store.%s hangs, and completes the upload once it works again',
  async (verb) => {
    const store = memoryStore()
    const called = withResolvers<void>()
    let isHanging = true
    const works = withResolvers<never>()
    const hanging = {
      ...store,
      [verb](...args: never[]) {
        called.resolve()
        return isHanging ? works.promise : (store[verb] as (...args: never[]) => unknown)(...args)
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
    const pending = verb === 'create' ? client.create() : client.fragment(0, hello, 5)
    await called.promise
    await reachTimeout()
    let answer = await pending
    expect(answer.status).toBe(500)
    expect(errors[0]).toMatch(`store.${verb}() did not settle within ${Timeout} ms`)
    isHanging = false
    if (verb === 'create') await client.create()
    if (verb !== 'create' && verb !== 'load') {
      // The late call could still change the session.
      expect((await client.fragment(0, hello, 5)).status).toBe(500)
      expect(errors.at(-1)).toMatch('exceeded `storeTimeout` and still runs')
    }
    works.reject(new Error('too late'))
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
    const start = performance.now()
    expect((await client.fragment(0, hello, 5)).status).toBe(500)
    // Timers may fire up to a millisecond early.
    expect(performance.now() - start).toBeGreaterThanOrEqual(storeTimeout - 1)
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
  const [gate, blocked] = [withResolvers<void>(), withResolvers<void>()]
  let written = 0
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    writev: async (fd, buffers, position) => {
      if (written === 2) blocked.resolve()
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
  const saved = withTimeout(files, Timeout).saveReply(session, body('c', 'd', 'e'))
  const failed = expect(saved).rejects.toMatchObject({ code: 'store-failed' })
  await blocked.promise
  await reachTimeout()
  await failed
  gate.resolve()
  await closed.promise
  expect(written).toBe(3)
})

it('Store timeout: aborts the signal of append on timeout, and passes on an error of the body', async () => {
  const aborted = withResolvers<unknown>()
  const memory = memoryStore()
  const append: Store['append'] = (_, bytes, { signal }) => {
    signal?.addEventListener('abort', () => aborted.resolve(signal.reason))
    bytes[Symbol.asyncIterator]().next().then(reachTimeout)
    return never
  }
  const session = newSession()
  await memory.create(session)
  const hanging = withTimeout({ ...memory, append }, Timeout)
  const pending = hanging.append(await loaded(memory, session.id), body('a'), { total: 1, durable: true })
  await expect(pending).rejects.toMatchObject({ code: 'store-failed' })
  expect(await aborted.promise).toMatchObject({ code: 'store-failed' })
  const store = withTimeout(memory, Timeout)
  const broken = store.append(await loaded(memory, session.id), body(new Error('cut off')), {
    total: 1,
    durable: true,
  })
  await expect(broken).rejects.toThrow('cut off')
})

it('Store timeout: aborts the signal of append when the signal of the caller is aborted', async () => {
  const memory = memoryStore()
  let signal: AbortSignal | undefined
  const append: Store['append'] = async (session, _, options) => {
    signal = options.signal
    return session
  }
  const session = await memory.create(newSession())
  const controller = new AbortController()
  const options = { total: 1, durable: true, signal: controller.signal }
  await withTimeout({ ...memory, append }, Timeout).append(session, body('a'), options)
  expect(signal?.aborted).toBe(false)
  controller.abort()
  expect(signal?.aborted).toBe(true)
})

it('Store timeout: rejects when a method throws, and clears its timer', async () => {
  const load = () => {
    throw new Error('broken')
  }
  await expect(withTimeout({ ...memoryStore(), load }, Timeout).load('')).rejects.toThrow('broken')
  await new Promise(setImmediate)
  expect(vi.getTimerCount()).toBe(0)
})

it('Store timeout: gives no more bytes to an append after the timeout', async () => {
  const gate = withResolvers<void>()
  const next = withResolvers<unknown>()
  const memory = memoryStore()
  const append: Store['append'] = async (_, bytes) => {
    const batches = bytes[Symbol.asyncIterator]()
    await batches.next()
    void reachTimeout()
    await gate.promise
    batches.next().then(next.resolve, next.resolve)
    return never
  }
  const session = newSession()
  await memory.create(session)
  const hanging = withTimeout({ ...memory, append }, Timeout)
  const pending = hanging.append(await loaded(memory, session.id), body('a', 'b'), {
    total: 2,
    durable: true,
  })
  await expect(pending).rejects.toMatchObject({ code: 'store-failed' })
  gate.resolve()
  expect(await next.promise).toMatchObject({ code: 'store-failed' })
})

it('Store timeout: starts the body only when the store reads it', async () => {
  let isStarted = false
  const bytes = {
    [Symbol.asyncIterator]() {
      isStarted = true
      return body('a')[Symbol.asyncIterator]()
    },
  }
  const memory = memoryStore()
  const session = newSession()
  await memory.create(session)
  const append = async () => {
    throw new Error('broken')
  }
  const current = await loaded(memory, session.id)
  const options = { total: 1, durable: true }
  await expect(withTimeout({ ...memory, append }, Timeout).append(current, bytes, options)).rejects.toThrow(
    'broken',
  )
  expect(isStarted).toBe(false)
  expect(await withTimeout(memory, Timeout).append(current, bytes, options)).toMatchObject({ received: 1 })
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
  const list: Store['list'] = () => ({ [Symbol.asyncIterator]: () => ({ next: () => never }) })
  const sessions = withTimeout({ ...memoryStore(), list }, Timeout).list()
  const failed = expect(listed({ ...memoryStore(), list: () => sessions })).rejects.toMatchObject({
    code: 'store-failed',
  })
  await reachTimeout()
  await failed
})

/** The real file system, with its descriptors watched, and a function that makes one call hang. */
function hangingFileSystem() {
  const { fileSystem, ...watched } = watchedFileSystem()
  /** Makes the next call of this kind time out, and wait until the returned gate is resolved. */
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
  const directory = await temporaryDirectory()
  const files = fileStore(directory, { fileSystem, durability: 'fragment' })
  const session = await files.create(newSession())
  const store = withTimeout(files, Timeout)
  const gate = hang('fdatasync')
  const pending = store.append(session, body('a'), { total: 3, durable: false })
  await expect(pending).rejects.toMatchObject({ code: 'store-failed' })
  store.release?.(session)
  gate.resolve()
  // The checkpoint is the last step of the append.
  const journal = join(directory, '.bits-sessions', `${session.id}.json`)
  await vi.waitUntil(async () => open.size === 0 && (await readFile(journal, 'utf8')).includes('"synced":1'))
})

it.each([
  { boot: 'an earlier boot', received: 0 },
  { boot: nodeFileSystem.boot(), received: 3 },
])(
  'Store timeout: a late append changes no bytes of a newer one ($received bytes held)',
  async (scenario) => {
    const directory = await temporaryDirectory()
    const session = newSession()
    const before = fileStore(directory, { fileSystem: { ...nodeFileSystem, boot: () => scenario.boot } })
    const appended = await before.append(await before.create(session), body('abc'), {
      total: 9,
      durable: false,
    })
    before.release?.(appended)
    const { fileSystem, open, closed, hang } = hangingFileSystem()
    const files = fileStore(directory, { fileSystem })
    const late = await loaded(files, session.id)
    expect(late.received).toBe(scenario.received)
    const gate = hang('open')
    const pending = withTimeout(files, Timeout).append(late, body('x'), { total: 9, durable: false })
    await expect(pending).rejects.toMatchObject({ code: 'store-failed' })
    const rest = 'abcdef'.slice(scenario.received)
    const after = await files.append(await loaded(files, session.id), body(rest), {
      total: 9,
      durable: false,
    })
    closed.length = 0
    gate.resolve()
    // The descriptor of the late append.
    await vi.waitUntil(() => closed.length > 0)
    files.release?.(after)
    await vi.waitUntil(() => open.size === 0)
    expect(await readFile(join(directory, '.bits-sessions', `${session.id}.part`), 'utf8')).toBe('abcdef')
  },
)

it('Store timeout: keeps the lock of a session until a late call has settled, so that no other process changes its files', async () => {
  const directory = await temporaryDirectory()
  const called = withResolvers<void>()
  const published = withResolvers<void>()
  const working = fileStore(directory)
  const hanging = fileStore(directory)
  hanging.publish = async () => {
    called.resolve()
    await published.promise
    throw new Error('too late')
  }
  const options = { storeTimeout: Timeout, sweepEvery: 0 }
  const one = await uploadServer({ store: hanging, ...options })
  const other = await uploadServer({ store: working, ...options })
  const client = new TestClient(new URL('a.bin', one.url))
  await client.create()
  const pending = client.fragment(0, hello, 5)
  await called.promise
  await reachTimeout()
  expect((await pending).status).toBe(500)
  // The other process waits for the lock.
  const elsewhere = new TestClient(new URL('a.bin', other.url))
  elsewhere.sessionId = client.sessionId
  const loads = vi.spyOn(working, 'load')
  const answer = elsewhere.fragment(0, hello, 5)
  // Without the lock the other process would have loaded the session meanwhile.
  for (let i = 0; i < 30; i += 1) expect((await client.fragment(0, hello, 5)).status).toBe(500)
  expect(loads).not.toHaveBeenCalled()
  published.resolve()
  expect((await answer).status).toBe(200)
  expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('hello')
})

describe('Store timeout of a shared store', () => {
  it('passes isShared and the options of create and append', async () => {
    const inner = sharedStorage().open()
    const [create, append] = [vi.spyOn(inner, 'create'), vi.spyOn(inner, 'append')]
    const store = withTimeout(inner, Timeout)
    expect([store.isShared, withTimeout(memoryStore(), Timeout).isShared]).toEqual([true, undefined])
    expect(withTimeout(memoryStore(), Timeout).acquireDecision).toBeUndefined()
    const session = await store.create(newSession(), { mayReadBytes: true })
    expect(create.mock.calls[0]?.[1]).toEqual({ mayReadBytes: true })
    const half = await store.append(session, body('a'), { total: 2, durable: false })
    const whole = await store.append(half, body('b'), { total: 2, durable: true, publish: true })
    expect(append.mock.calls.map(([, , { publish }]) => publish)).toEqual([false, true])
    expect(whole.state).toBe('published')
  })

  it('does not end the wait for a decision, which has its own timeout', async () => {
    const storage = sharedStorage()
    const [one, another] = [withTimeout(storage.open(), Timeout), withTimeout(storage.open(), Timeout)]
    const session = await complete(one, 'abc')
    const lease = await one.acquireDecision?.(session, { timeout: 0 })
    const waiting = another.acquireDecision?.(session, { timeout: 0 })
    await vi.advanceTimersByTimeAsync(10 * Timeout)
    await lease?.release()
    const next = await waiting
    expect(next?.session).toMatchObject({ state: 'receiving', received: 3 })
    const busy = expect(one.acquireDecision?.(session, { timeout: 5 })).rejects.toMatchObject({
      code: 'session-busy',
    })
    await vi.advanceTimersByTimeAsync(5)
    await busy
  })

  it('limits the wait for a decision to its own timeout and that of the store, and releases a late lease', async () => {
    const inner = sharedStorage().open()
    const late = withResolvers<void>()
    const release = vi.fn(async () => {})
    inner.acquireDecision = async (session) => {
      await late.promise
      return { session, release }
    }
    const store = withTimeout(inner, Timeout)
    const failed = expect(
      store.acquireDecision?.(await complete(store, 'abc'), { timeout: 5 }),
    ).rejects.toMatchObject({ code: 'store-failed' })
    await vi.advanceTimersByTimeAsync(Timeout + 5)
    await failed
    late.resolve()
    await vi.advanceTimersByTimeAsync(0)
    expect(release).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['hangs', () => never],
    ['rejects', () => Promise.reject(new Error('the service does not answer'))],
  ])('continues when the release of a decision %s', async (_, release) => {
    const inner = sharedStorage().open()
    inner.acquireDecision = async (session) => ({ session, release })
    const store = withTimeout(inner, Timeout)
    const lease = await store.acquireDecision?.(await complete(store, 'abc'), { timeout: 0 })
    const released = lease?.release()
    await reachTimeout()
    await expect(released).resolves.toBeUndefined()
  })

  it('accepts the next packet before a late append has settled, which then changes nothing', async () => {
    const storage = sharedStorage()
    const store = storage.open()
    const { url } = await uploadServer({ store, storeTimeout: Timeout, sweepEvery: 0 })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const { reached, resume } = store.pause('append')
    const append = vi.spyOn(store, 'append')
    const pending = client.fragment(0, hello, 5)
    await reached
    await reachTimeout()
    expect((await pending).status).toBe(500)
    const [late] = append.mock.results
    const answer = await client.fragment(0, hello, 5)
    expect([answer.status, received(answer)]).toEqual([200, 5])
    resume()
    await expect(late?.value).rejects.toMatchObject({ code: 'out-of-sync' })
    expect(storage.files.get('a.bin')?.toString()).toBe('hello')
  })
})

import { link, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { BitsError, type BitsUploadOptions, fileStore } from '../../lib/index.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { openBelow } from '../support/file-system.ts'
import { later } from '../support/later.ts'
import { uploadServer } from '../support/server.ts'

const abc = Buffer.from('abc')

/**
 * Starts a server with a file store, and a client with a session. Counts the calls of load() and release().
 */
async function startSession(options: Partial<BitsUploadOptions> = {}) {
  const directory = await temporaryDirectory()
  const store = fileStore(directory)
  const calls = { load: 0, release: 0 }
  const { load, release } = { load: store.load.bind(store), release: store.release?.bind(store) }
  store.load = (...args) => {
    calls.load += 1
    return load(...args)
  }
  store.release = (session) => {
    calls.release += 1
    release?.(session)
  }
  const { upload, url } = await uploadServer({ store, sweepEvery: 0, ...options })
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  const file = (kind: string) => join(directory, '.bits-sessions', `${client.sessionId}.${kind}`)
  return { directory, store, calls, upload, url, client, part: file('part'), journal: file('json') }
}

it('Session cache: serves all packets of an upload without store.load', async () => {
  const { calls, client } = await startSession()
  for (const first of [0, 3, 6]) {
    const answer = await client.fragment(first, abc, 9)
    expect([answer.status, received(answer)]).toEqual([200, first + 3])
  }
  expect((await client.fragment(6, abc, 9)).status).toBe(200)
  expect((await client.close()).status).toBe(200)
  expect(calls.load).toBe(0)
  expect((await client.close()).status).toBe(500)
  expect(calls.load).toBe(1)
})

it('Session cache: calls store.load after 1 s, and caches the result for another second', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const { calls, client } = await startSession()
  await client.fragment(0, abc, 12)
  vi.advanceTimersByTime(999)
  await client.fragment(3, abc, 12)
  expect(calls.load).toBe(0)
  vi.advanceTimersByTime(1)
  await client.fragment(6, abc, 12)
  expect(calls.load).toBe(1)
  vi.advanceTimersByTime(999)
  expect((await client.fragment(9, abc, 12)).status).toBe(200)
  expect(calls.load).toBe(1)
})

it('Session cache: releases the session once after a failed packet, then loads it again', async () => {
  const { calls, client } = await startSession()
  await client.fragment(0, abc, 9)
  expect(calls).toEqual({ load: 0, release: 0 })
  const gap = await client.fragment(6, abc, 9)
  expect([gap.status, received(gap)]).toEqual([416, 3])
  expect(calls.release).toBe(1)
  // The 416 called load(), because it contains the number of bytes held.
  const { load } = calls
  expect((await client.fragment(3, abc, 9)).status).toBe(200)
  expect(calls).toEqual({ load: load + 1, release: 1 })
})

it('Session cache: hands a session over to another server on the same directory, and back', async () => {
  const { directory, calls, client } = await startSession()
  const { url } = await uploadServer({ store: fileStore(directory), sweepEvery: 0 })
  const other = new TestClient(new URL('a.bin', url))
  other.sessionId = client.sessionId
  for (const [i, each] of [client, other, client, other].entries()) {
    const answer = await each.fragment(3 * i, abc, 12)
    expect([answer.status, received(answer)]).toEqual([200, 3 * i + 3])
  }
  expect(calls.load).toBe(1)
  expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('abcabcabcabc')
})

it('Session cache: returns 404 to Close-Session when the part file was removed', async () => {
  const { calls, client, part } = await startSession()
  await client.fragment(0, abc, 9)
  await rm(part)
  expect((await client.close()).status).toBe(404)
  expect(calls.load).toBe(1)
})

const losses: [string, (part: string) => Promise<unknown>, number][] = [
  ['was removed', (part) => rm(part), 0],
  ['was truncated', (part) => truncate(part, 2), 2],
  [
    'was replaced by an older copy',
    (part) => writeFile(`${part}.old`, 'ab').then(() => rename(`${part}.old`, part)),
    2,
  ],
]
it.each(losses)('Session cache: returns 416 and the offset when the part file %s', async (_, lose, held) => {
  const { directory, client, part } = await startSession()
  await client.fragment(0, abc, 9)
  await lose(part)
  later()
  const answer = await client.fragment(3, abc, 9)
  expect([answer.status, received(answer)]).toEqual([416, held])
  const rest = Buffer.from('abcabcabc').subarray(held)
  expect((await client.fragment(held, rest, 9)).status).toBe(200)
  expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('abcabcabc')
})

it('Session cache: accepts the next fragment after a hard link to the part file was made', async () => {
  const { client, part } = await startSession()
  await client.fragment(0, abc, 9)
  await link(part, `${part}.copy`)
  const answer = await client.fragment(3, abc, 9)
  expect([answer.status, received(answer)]).toEqual([200, 6])
})

it('Session cache: returns session-not-found after the files of the session were removed', async () => {
  const { client, part, journal } = await startSession()
  await client.fragment(0, abc, 9)
  await Promise.all([rm(part), rm(journal)])
  later()
  const answer = await client.fragment(3, abc, 9)
  expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
})

it('Session cache: keeps the metadata from onCreate when the application changes its object', async () => {
  const metadata = { user: 'first' }
  const seen: unknown[] = []
  const { client } = await startSession({
    onCreate: () => ({ metadata }),
    onUpload: (upload) => void seen.push(upload.metadata),
  })
  metadata.user = 'second'
  await client.fragment(0, abc, 3)
  expect(seen).toEqual([{ user: 'first' }])
})

it.runIf(process.platform === 'linux')(
  'Session cache: closes its files after a failed packet; upload.close() also releases the lock',
  async () => {
    const { directory, upload, url, client } = await startSession()
    await client.fragment(0, abc, 9)
    expect(await openBelow(directory)).not.toEqual([])
    // A failed packet closes the files of its session at once.
    const other = new TestClient(new URL('b.bin', url))
    await other.create()
    const before = (await openBelow(directory)).length
    await other.fragment(3, abc, 9)
    await vi.waitUntil(async () => (await openBelow(directory)).length < before)
    await upload.close()
    await vi.waitUntil(async () => (await openBelow(directory)).length === 0)
    // The lock was released, too: another server can continue the session.
    const next = await uploadServer({ store: fileStore(directory), sweepEvery: 0 })
    const resumed = new TestClient(new URL('a.bin', next.url))
    resumed.sessionId = client.sessionId
    expect((await resumed.fragment(3, abc, 9)).status).toBe(200)
  },
)

it.runIf(process.platform === 'linux')(
  'Session cache: closes all files when onUpload fails after an out-of-sync append',
  async () => {
    const onUpload = () => Promise.reject(new Error('not now'))
    const { directory, store, client } = await startSession({ onUpload })
    const append = store.append.bind(store)
    store.append = async (...args) => {
      store.append = append
      await append(...args)
      throw new BitsError('out-of-sync', 'Another packet has changed the session')
    }
    const answer = await client.fragment(0, abc, 3)
    expect([answer.status, received(answer)]).toEqual([500, 3])
    await vi.waitUntil(async () => (await openBelow(directory)).length === 0)
  },
)

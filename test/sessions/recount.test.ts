import { describe, expect, it } from 'vitest'
import { type BitsUploadOptions, fileStore, type Store } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'

/** Starts two servers on one directory, like two processes. Counts the calls of list(). */
async function startTwoServers(options: Partial<BitsUploadOptions>) {
  const directory = await temporaryDirectory()
  let listCalls = 0
  const countingStore = (): Store => {
    const store = fileStore(directory)
    const list = store.list.bind(store)
    store.list = (...args) => {
      listCalls += 1
      return list(...args)
    }
    return store
  }
  const open = () => uploadServer({ store: countingStore(), sweepEvery: 0, ...options })
  const [one, other] = [await open(), await open()]
  return { one, other, listCalls: () => listCalls }
}

const statusOf = async (client: TestClient): Promise<number> => (await client.create()).status

/** Cancels the session of a client at another server. */
async function cancelAt(url: URL, { sessionId }: TestClient, name: string): Promise<void> {
  const client = new TestClient(new URL(name, url))
  client.sessionId = sessionId
  expect((await client.cancel()).status).toBe(200)
}

describe('Session quota', () => {
  it.each<[string, Partial<BitsUploadOptions>]>([
    ['maxSessions', { maxSessions: 2 }],
    ['maxSessionsPerOwner', { maxSessionsPerOwner: 2, authorize: () => 'ann' }],
  ])('recounts at %s, and accepts a session when another server has ended one', async (_, options) => {
    const { one, other } = await startTwoServers(options)
    const clients = ['a.bin', 'b.bin', 'c.bin'].map((name) => new TestClient(new URL(name, one.url)))
    const [a, b, c] = clients as [TestClient, TestClient, TestClient]
    expect([await statusOf(a), await statusOf(b)]).toEqual([200, 200])
    await cancelAt(other.url, a, 'a.bin')
    expect(await statusOf(c)).toBe(200)
  })

  it('returns 503 above maxSessions, and lists the store once for 20 requests', async () => {
    const { one, listCalls } = await startTwoServers({ maxSessions: 1 })
    const begin = (name: string) => statusOf(new TestClient(new URL(name, one.url)))
    expect(await begin('a.bin')).toBe(200)
    const before = listCalls()
    const refused = await Promise.all(Array.from({ length: 20 }, (_, i) => begin(`${i}.bin`)))
    expect(new Set(refused)).toEqual(new Set([503]))
    expect(listCalls() - before).toBe(1)
  })
})

/** Sessions without a byte, near the limit `maxSessions`. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type BitsUploadOptions, bitsUpload, memoryStore } from '../../lib/index.ts'
import { begin, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { listen } from '../support/server.ts'
import { body, listed, loaded, newSession } from '../support/store.ts'

const MinuteMs = 60_000

/** Near the limit from 18 sessions on; then a client may have 10 empty ones. */
const maxSessions = 20

interface Setup extends Partial<BitsUploadOptions> {
  /** Whether the app trusts `X-Forwarded-For`. Default: true. */
  readonly trustsProxy?: boolean
}

/** A server whose clients are distinguished by `X-Forwarded-For`. */
async function start({ trustsProxy = true, ...options }: Setup = {}) {
  const store = memoryStore()
  const upload = bitsUpload({ store, maxSessions, sweepEvery: 0, ...options })
  // Without a listener failures are printed to the console.
  upload.events.on('failed', () => {})
  const app = express()
    .set('trust proxy', trustsProxy && 'loopback')
    .use('/upload', upload)
  const url = await listen(createServer(app))
  onTestFinished(() => upload.close({ grace: 0 }))
  let files = 0
  const client = (address = '10.0.0.1') => {
    files += 1
    return new TestClient(new URL(`upload/${files}.bin`, url), {
      'X-Forwarded-For': address,
      'X-User': address,
    })
  }
  /** The status of a Create-Session from this address. */
  const create = async (address?: string) => (await client(address).create()).status
  /** Creates empty sessions, and returns their ids. */
  const fill = async (count: number, address?: string) => {
    const ids: string[] = []
    for (let i = 0; i < count; i += 1) {
      const each = client(address)
      expect((await each.create()).status).toBe(200)
      ids.push(each.sessionId)
    }
    return ids
  }
  const expired: string[] = []
  upload.events.on('expired', ({ id }) => expired.push(id))
  return { store, upload, url, client, create, fill, expired }
}

/** A function that advances the wall clock and the monotonic clock; timers are real. */
function manualTime() {
  const clocks = [vi.spyOn(Date, 'now'), vi.spyOn(performance, 'now')] as const
  const [wall, monotonic] = [Date.now(), performance.now()]
  let elapsed = 0
  clocks[0].mockImplementation(() => wall + elapsed)
  clocks[1].mockImplementation(() => monotonic + elapsed)
  onTestFinished(() => clocks.forEach((clock) => void clock.mockRestore()))
  return (milliseconds: number): void => {
    elapsed += milliseconds
  }
}

describe('Empty sessions of one client', () => {
  it('cannot take the last 10 % of maxSessions, which others can', async () => {
    const { client, create, fill, upload } = await start()
    const messages: string[] = []
    upload.events.on('refused', ({ error }) => messages.push(error.message))
    await fill(18)
    const refused = await client().create()
    expect([refused.status, refused.headers['bits-error-code']]).toEqual([503, undefined])
    expect(messages).toEqual([
      expect.stringMatching(/^18 of 20 sessions are open, 18 without a byte by address 10\.0\.0\.1\. /),
    ])
    expect([await create('10.0.0.2'), await create('10.0.0.3')]).toEqual([200, 200])
  })

  it('cannot take the last 10 % with concurrent Create-Session packets either', async () => {
    const { client, create, fill } = await start()
    await fill(10)
    const clients = Array.from({ length: 10 }, () => client())
    const statuses = (await Promise.all(clients.map((each) => each.create()))).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(8)
    expect(await create('10.0.0.2')).toBe(200)
  })

  it('count for the address of the connection if the app trusts no proxy', async () => {
    const { create, fill } = await start({ trustsProxy: false })
    await fill(18)
    expect(await create('10.0.0.2')).toBe(503)
  })

  it('count for the address of the connection without Express', async () => {
    const upload = bitsUpload({ store: memoryStore(), maxSessions, sweepEvery: 0 })
    onTestFinished(() => upload.close({ grace: 0 }))
    const messages: string[] = []
    upload.events.on('refused', ({ error }) => messages.push(error.message))
    const url = await listen(
      createServer((request, response) => upload(request, response, () => response.end())),
    )
    const create = async () => (await new TestClient(new URL('a.bin', url)).create()).status
    for (let i = 0; i < 18; i += 1) expect(await create()).toBe(200)
    expect(await create()).toBe(503)
    expect(messages[0]).toContain('18 without a byte by address 127.0.0.1. ')
  })

  it('count for the owner instead of the address', async () => {
    const { create, fill } = await start({
      authorize: ({ headers }) => String(headers['x-user']),
      maxSessionsPerOwner: Number.POSITIVE_INFINITY,
      trustsProxy: false,
    })
    await fill(18, 'ann')
    expect([await create('ann'), await create('bob')]).toEqual([503, 200])
  })

  it('no longer count after their first fragment, also an incomplete one', async () => {
    const { client, create, fill, upload } = await start()
    const clients = [client(), client()]
    for (const each of clients) expect((await each.create()).status).toBe(200)
    await fill(8)
    await fill(8, '10.0.0.2')
    expect(await create()).toBe(503)
    const [whole, broken] = clients as [TestClient, TestClient]
    expect((await whole.fragment(0, Buffer.from('abc'), 9)).status).toBe(200)
    expect([await create(), await create()]).toEqual([200, 503])

    const interrupted = new Promise((resolve) => upload.events.once('interrupted', resolve))
    const outgoing = begin(broken.url, 'Fragment', { headers: broken.range(0, 5, 9) }).on('error', () => {})
    outgoing.write('abc', () => setTimeout(() => outgoing.destroy(), 50))
    expect(await interrupted).toMatchObject({ received: 3 })
    expect(await create()).toBe(200)
  })

  it('no longer count after a fragment that ended before its first byte', async () => {
    const { client, create, fill, upload } = await start({ store: await temporaryDirectory() })
    const broken = client()
    expect((await broken.create()).status).toBe(200)
    await fill(9)
    await fill(8, '10.0.0.2')
    expect(await create()).toBe(503)
    const interrupted = new Promise((resolve) => upload.events.once('interrupted', resolve))
    const outgoing = begin(broken.url, 'Fragment', { headers: broken.range(0, 5, 9) }).on('error', () => {})
    outgoing.flushHeaders()
    await once(outgoing, 'socket')
    outgoing.socket?.end()
    expect(await interrupted).toMatchObject({ received: 0 })
    expect(await create()).toBe(200)
  })

  it('no longer count after their Close-Session, which completes an empty file, although onUpload failed', async () => {
    const { client, create, fill } = await start({ onUpload: () => Promise.reject(new Error('busy')) })
    const closed = client()
    expect((await closed.create()).status).toBe(200)
    await fill(9)
    await fill(8, '10.0.0.2')
    expect(await create()).toBe(503)
    expect((await closed.close()).status).toBe(500)
    expect([await create(), await create()]).toEqual([200, 503])
  })
})

describe('Old empty sessions', () => {
  it('are removed near the limit after a Create-Session, the oldest first, until less than 90 % are open', async () => {
    const advance = manualTime()
    const { create, expired, fill, store } = await start()
    const ids = await fill(1)
    for (let i = 1; i < 10; i += 1) {
      advance(1000)
      ids.push(...(await fill(2, `10.0.0.${i}`)))
    }
    advance(5 * MinuteMs + 1)
    const gate = withResolvers<void>()
    const { remove } = store
    store.remove = async (session) => {
      await gate.promise
      await remove(session)
    }
    // It does not wait for the removal.
    expect(await create('10.0.1.1')).toBe(200)
    expect(expired).toEqual([])
    gate.resolve()
    await expect.poll(() => expired.length).toBe(3)
    expect(expired).toEqual(ids.slice(0, 3))
    expect(await listed(store)).toHaveLength(17)
  })

  it('stay below 90 %, and those younger than 5 minutes always', async () => {
    const advance = manualTime()
    const { expired, fill, upload } = await start()
    await fill(10)
    advance(10 * MinuteMs)
    await fill(7, '10.0.0.2')
    expect(await upload.sweep()).toEqual({ expired: 0, open: 17 })
    expect(expired).toEqual([])
    await fill(1, '10.0.0.3')
    expect(await upload.sweep()).toEqual({ expired: 1, open: 17 })

    const young = await start()
    await young.fill(10)
    await young.fill(10, '10.0.0.2')
    advance(4 * MinuteMs)
    expect(await young.create('10.0.0.3')).toBe(503)
    expect(await young.upload.sweep()).toEqual({ expired: 0, open: 20 })
  })

  it('are removed by a sweep, which counts them, also those that another process created', async () => {
    const { store, upload, expired } = await start()
    const now = Date.now()
    const sessions = Array.from({ length: 20 }, (_, i) => newSession({ created: now - 6 * MinuteMs - i }))
    for (const session of sessions) await store.create(session)
    expect(await upload.sweep()).toEqual({ expired: 3, open: 17 })
    expect(expired).toEqual(
      sessions
        .slice(-3)
        .reverse()
        .map(({ id }) => id),
    )
  })

  it('are looked for once in 10 seconds, however many sessions are created', async () => {
    const advance = manualTime()
    const { create, fill, store, upload } = await start()
    const failed = vi.fn()
    upload.events.on('failed', failed)
    await fill(10)
    await fill(10, '10.0.0.2')
    advance(5 * MinuteMs + 1)
    const load = vi.spyOn(store, 'load').mockRejectedValue(new Error('EIO'))
    for (let i = 0; i < 5; i += 1) await create('10.0.0.3')
    await expect.poll(() => load.mock.calls.length).toBe(20)
    for (let i = 0; i < 5; i += 1) await create('10.0.0.3')
    expect(load).toHaveBeenCalledTimes(20)
    advance(10_000)
    await create('10.0.0.3')
    await expect.poll(() => load.mock.calls.length).toBe(40)
    // One failure for each search.
    await expect.poll(() => failed.mock.calls.length).toBe(2)
  })

  it('make room without a recount if another process has removed them', async () => {
    const advance = manualTime()
    const { create, expired, fill, store } = await start()
    const ids = await fill(10)
    await fill(9, '10.0.0.2')
    for (const id of ids.slice(0, 3)) await store.remove(await loaded(store, id))
    advance(5 * MinuteMs + 1)
    const load = vi.spyOn(store, 'load')
    expect(await create('10.0.0.3')).toBe(200)
    await expect.poll(() => load.mock.calls.length).toBe(3)
    expect([await create('10.0.0.3'), await create('10.0.0.3'), await create('10.0.0.3')]).toEqual([
      200, 200, 200,
    ])
    expect(expired).toEqual([])
  })

  it('are loaded once only if another process has appended bytes', async () => {
    const advance = manualTime()
    const { create, expired, fill, store } = await start()
    const ids = [...(await fill(10)), ...(await fill(9, '10.0.0.2'))]
    for (const id of ids) {
      await store.append(await loaded(store, id), body('abc'), { total: 9, durable: false })
    }
    advance(5 * MinuteMs + 1)
    const load = vi.spyOn(store, 'load')
    expect(await create('10.0.0.3')).toBe(200)
    await expect.poll(() => load.mock.calls.length).toBe(19)
    advance(10_000)
    await create('10.0.0.3')
    advance(10_000)
    await create('10.0.0.3')
    expect(load).toHaveBeenCalledTimes(19)
    expect(expired).toEqual([])
  })

  it('are not removed if they hold bytes, from this process or another', async () => {
    const advance = manualTime()
    const { client, expired, fill, store, upload } = await start()
    const first = client()
    expect((await first.create()).status).toBe(200)
    expect((await first.fragment(0, Buffer.from('abc'), 9)).status).toBe(200)
    const [other = '', ...rest] = await fill(10)
    await fill(9, '10.0.0.2')
    // Another process appends them: the quota of this one does not know it.
    await store.append(await loaded(store, other), body('abc'), { total: 9, durable: false })
    advance(6 * MinuteMs)
    await upload.sweep()
    expect(expired).toEqual(rest.slice(0, 3))
    expect((await first.fragment(3, Buffer.from('def'), 9)).status).toBe(200)
  })

  it('are not removed while their first fragment arrives', async () => {
    const advance = manualTime()
    const { client, expired, fill, store, upload } = await start()
    const first = client()
    expect((await first.create()).status).toBe(200)
    const ids = await fill(10)
    await fill(9, '10.0.0.2')
    const appending = vi.spyOn(store, 'append')
    const outgoing = begin(first.url, 'Fragment', { headers: first.range(0, 3, 9) })
    const answer = new Promise((resolve) => outgoing.on('response', ({ statusCode }) => resolve(statusCode)))
    outgoing.write('a')
    await expect.poll(() => appending.mock.calls.length).toBe(1)
    advance(6 * MinuteMs)
    await upload.sweep()
    expect(expired).toEqual(ids.slice(0, 3))
    outgoing.end('bc')
    expect(await answer).toBe(200)
  })

  it('are not removed when their first fragment ends just before the removal has their lock', async () => {
    const advance = manualTime()
    const { client, expired, fill, store, upload } = await start()
    const first = client()
    expect((await first.create()).status).toBe(200)
    const ids = await fill(10)
    await fill(9, '10.0.0.2')
    advance(6 * MinuteMs)
    const { load } = store
    store.load = async (id) => {
      const session = await load(id)
      if (id === first.sessionId) {
        store.load = load
        expect((await first.fragment(0, Buffer.from('abc'), 9)).status).toBe(200)
      }
      return session
    }
    await upload.sweep()
    expect(expired).toEqual(ids.slice(0, 3))
    expect((await first.fragment(3, Buffer.from('def'), 9)).status).toBe(200)
  })

  it('are not removed while a slow onCreate delays their creation, and keep their places', async () => {
    const advance = manualTime()
    let created = (): void => {}
    const { client, fill, upload } = await start({
      onCreate: ({ name }) =>
        name === '1.bin'
          ? new Promise<void>((resolve) => {
              created = resolve
            })
          : undefined,
    })
    const slow = client()
    const answer = slow.create()
    await fill(10)
    await fill(9, '10.0.0.2')
    advance(6 * MinuteMs)
    // The session that is being created counts, and is none of the three that make room.
    expect(await upload.sweep()).toEqual({ expired: 3, open: 17 })
    created()
    expect((await answer).status).toBe(200)
    expect((await slow.fragment(0, Buffer.from('abc'), 9)).status).toBe(200)
  })
})

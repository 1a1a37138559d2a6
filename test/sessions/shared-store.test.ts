/** Two servers on one storage without locks (`isShared`). The cases are those of lib/stores/object/README.md. */
import { once } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { BitsError, type BitsUploadOptions, type UploadReport } from '../../lib/index.ts'
import { lockKey } from '../../lib/locks/locker.ts'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { SessionCache } from '../../lib/sessions/session-cache.ts'
import { type Answer, begin, hresult, received, TestClient } from '../support/client.ts'
import { withResolvers } from '../support/promise.ts'
import { uploadServer } from '../support/server.ts'
import { sharedStorage } from '../support/shared-store.ts'
import { body, loaded, newSession } from '../support/store.ts'

const abc = Buffer.from('abc')
const def = Buffer.from('def')
const abcdef = Buffer.from('abcdef')

const summary = (answer: Answer) => [answer.status, received(answer)]

/** Two servers on one storage, and a client at each with the same session, which the first one has created. */
async function twoNodes(
  options: Partial<BitsUploadOptions> = {},
  { publishesOnAppend = true, name = 'a.bin' } = {},
) {
  const storage = sharedStorage({ publishesOnAppend })
  const startNode = async () => {
    const store = storage.open()
    const load = vi.spyOn(store, 'load')
    const { upload, url } = await uploadServer({ store, sweepEvery: 0, ...options })
    const events: string[] = []
    for (const event of ['received', 'uploaded', 'closed', 'cancelled', 'expired'] as const) {
      upload.events.on(event, ({ received }: UploadReport) => events.push(`${event} ${received}`))
    }
    for (const event of ['refused', 'failed'] as const) {
      upload.events.on(event, ({ error }) => events.push(`${event} ${error.code}`))
    }
    return { store, load, upload, events, url, client: new TestClient(new URL(name, url)) }
  }
  const [a, b] = [await startNode(), await startNode()]
  expect((await a.client.create()).status).toBe(200)
  const id = a.client.sessionId
  b.client.sessionId = id
  const file = () => storage.files.get(name)?.toString()
  return { storage, a, b, id, file, session: () => storage.open().load(id) }
}

describe('Session cache of a shared store', () => {
  afterEach(() => void vi.useRealTimers())

  it('loads a session once for all packets of an upload at another node', async () => {
    const { a, b, file } = await twoNodes()
    for (const first of [0, 3, 6, 9, 12]) {
      expect(summary(await b.client.fragment(first, abc, 15))).toEqual([200, first + 3])
    }
    expect((await b.client.fragment(12, abc, 15)).status).toBe(200)
    expect((await b.client.close()).status).toBe(200)
    expect([a.load.mock.calls.length, b.load.mock.calls.length]).toEqual([0, 1])
    expect(file()).toBe('abcabcabcabcabc')
  })

  it('calls store.load after a minute', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const { a } = await twoNodes()
    vi.advanceTimersByTime(59_999)
    await a.client.fragment(0, abc, 9)
    expect(a.load).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    await a.client.fragment(3, abc, 9)
    expect(a.load).toHaveBeenCalledTimes(1)
  })

  it('evicts a session one to two minutes after its last packet, and the oldest of more than 256', async () => {
    vi.useFakeTimers()
    const locker = memoryLocker()
    const cache = new SessionCache(sharedStorage().open(), locker, 0, () => {})
    const create = () => cache.create(newSession({ id: newGuid() }), {})
    const isCached = async (session: { id: string; path: string }) => {
      const lock = await locker.tryAcquire(lockKey(session))
      await lock?.release()
      return lock === undefined
    }
    const [first, second] = [await create(), await create()]
    for (let i = 0; i < 254; i += 1) await create()
    expect(await isCached(first)).toBe(true)
    await create()
    expect([await isCached(first), await isCached(second)]).toEqual([false, true])
    await vi.advanceTimersByTimeAsync(59_999)
    expect(await isCached(second)).toBe(true)
    await vi.advanceTimersByTimeAsync(60_001)
    expect(await isCached(second)).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('A stale session in the cache', () => {
  it('is loaded before a fragment gets 416 because of its offset', async () => {
    const { a, b } = await twoNodes()
    await b.client.fragment(0, abc, 9)
    expect(summary(await a.client.fragment(3, abc, 9))).toEqual([200, 6])
    expect(a.load).toHaveBeenCalledTimes(1)
    expect(summary(await a.client.fragment(8, abc, 12))).toEqual([400, 6])
  })

  it('is loaded before a fragment is refused because of another size of the file', async () => {
    const { a, b } = await twoNodes()
    await a.client.fragment(0, abc, 9)
    await b.client.cancel()
    const answer = await a.client.fragment(3, abc, 12)
    expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
  })

  it('is loaded before Close-Session', async () => {
    const { a, b, file } = await twoNodes()
    const append = vi.spyOn(a.store, 'append')
    await b.client.fragment(0, abc, 3)
    expect((await a.client.close()).status).toBe(200)
    // Without load() the server would take the session for an empty file.
    expect(append).not.toHaveBeenCalled()
    expect(a.load).toHaveBeenCalledTimes(1)
    expect(a.events).toEqual(['closed 3'])
    expect(file()).toBe('abc')
  })

  it('is loaded before Cancel-Session', async () => {
    const { a, b, session } = await twoNodes()
    const remove = vi.spyOn(a.store, 'remove')
    await b.client.fragment(0, abc, 9)
    expect((await a.client.cancel()).status).toBe(200)
    expect(remove).toHaveBeenCalledTimes(1)
    expect(a.events).toEqual(['cancelled 3'])
    expect(await session()).toBeUndefined()
  })

  it('is not loaded by packets of a published upload', async () => {
    const { a } = await twoNodes()
    await a.client.fragment(0, abc, 3)
    expect(summary(await a.client.fragment(0, abc, 3))).toEqual([200, 3])
    expect((await a.client.cancel()).status).toBe(200)
    expect(a.load).not.toHaveBeenCalled()
  })
})

/** Sends a fragment to node A, whose append is paused until `meanwhile` is done. */
async function overtake(
  { client, store }: Awaited<ReturnType<typeof twoNodes>>['a'],
  fragment: Parameters<TestClient['fragment']>,
  meanwhile: () => Promise<unknown>,
): Promise<Answer> {
  const { reached, resume } = store.pause('append')
  const answer = client.fragment(...fragment)
  await reached
  await meanwhile()
  resume()
  return answer
}

describe('Two nodes with one session: Fragment', () => {
  it('skips bytes that the other node has stored before', async () => {
    const { a, b, file } = await twoNodes()
    await a.client.fragment(0, abc, 6)
    expect(summary(await b.client.fragment(0, abc, 6))).toEqual([200, 3])
    expect(summary(await b.client.fragment(0, abcdef, 6))).toEqual([200, 6])
    expect(file()).toBe('abcdef')
  })

  it('gets 200 if the other node has stored the same bytes meanwhile', async () => {
    const { a, b, session } = await twoNodes()
    const answer = await overtake(a, [0, abc, 9], async () => {
      expect(summary(await b.client.fragment(0, abc, 9))).toEqual([200, 3])
    })
    expect(summary(answer)).toEqual([200, 3])
    expect(await session()).toMatchObject({ received: 3, total: 9 })
    // Counted once, by the node that has stored them.
    expect([a.events, b.events]).toEqual([[], ['received 3']])
    expect(summary(await a.client.fragment(3, abc, 9))).toEqual([200, 6])
  })

  it('gets 200 and the offset if the other node has stored more bytes meanwhile', async () => {
    const { a, b } = await twoNodes()
    const answer = await overtake(a, [0, abc, 9], () => b.client.fragment(0, abcdef, 9))
    expect(summary(answer)).toEqual([200, 6])
  })

  it('gets 416 and the offset if the other node has stored fewer bytes meanwhile', async () => {
    const { a, b, file } = await twoNodes()
    const answer = await overtake(a, [0, abcdef, 9], () => b.client.fragment(0, abc, 9))
    expect(summary(answer)).toEqual([416, 3])
    expect(a.events).toEqual(['refused out-of-sync'])
    expect(summary(await a.client.fragment(3, Buffer.from('defghi'), 9))).toEqual([200, 9])
    expect(file()).toBe('abcdefghi')
  })

  it('gets 200 if the other node has published the upload meanwhile', async () => {
    const { a, b, file } = await twoNodes()
    const answer = await overtake(a, [0, abcdef, 6], async () => {
      expect(summary(await b.client.fragment(0, abcdef, 6))).toEqual([200, 6])
    })
    expect(summary(answer)).toEqual([200, 6])
    expect(file()).toBe('abcdef')
    expect([a.events, b.events]).toEqual([[], ['received 6', 'uploaded 6']])
  })

  it('does not publish a second time what the other node has published and a consumer has removed', async () => {
    const { storage, a, b, file } = await twoNodes()
    const answer = await overtake(a, [0, abcdef, 6], async () => {
      await b.client.fragment(0, abcdef, 6)
      storage.files.clear()
    })
    expect(summary(answer)).toEqual([200, 6])
    expect(file()).toBeUndefined()
  })

  it.each([true, false])(
    'completes the upload if the other node has stored all bytes and stopped (publishesOnAppend: %s)',
    async (publishesOnAppend) => {
      const { storage, a, id, file } = await twoNodes({}, { publishesOnAppend })
      const other = storage.open()
      const answer = await overtake(a, [0, abcdef, 6], async () =>
        other.append(await loaded(other, id), body('abcdef'), { total: 6, durable: true }),
      )
      expect(summary(answer)).toEqual([200, 6])
      expect(file()).toBe('abcdef')
      expect(a.events).toEqual(['uploaded 6'])
    },
  )

  it.each([true, false])(
    'gets 200 if the other node has published between its append and its publish (publish resolves: %s)',
    async (publishesOnAppend) => {
      const { a, storage, id, file } = await twoNodes({}, { publishesOnAppend })
      const other = storage.open()
      if (publishesOnAppend)
        vi.spyOn(a.store, 'append').mockImplementation((session, bytes, options) =>
          other.append(session, bytes, { ...options, publish: false }),
        )
      const { reached, resume } = a.store.pause('publish')
      const answer = a.client.fragment(0, abc, 3)
      await reached
      await other.publish(await loaded(other, id))
      storage.files.set('a.bin', Buffer.from('changed by a consumer'))
      resume()
      expect(summary(await answer)).toEqual([200, 3])
      expect(file()).toBe('changed by a consumer')
    },
  )

  it('loads the session again if the other node changes it a second time', async () => {
    const { storage, a, b, id, file } = await twoNodes()
    const other = storage.open()
    let second: ReturnType<typeof a.store.pause> | undefined
    const pending = overtake(a, [0, abcdef, 6], async () => {
      await other.append(await loaded(other, id), body('abcdef'), { total: 6, durable: true })
      second = a.store.pause('append')
    })
    await vi.waitUntil(() => second)
    await second?.reached
    expect(summary(await b.client.fragment(0, abcdef, 6))).toEqual([200, 6])
    second?.resume()
    expect(summary(await pending)).toEqual([200, 6])
    expect(file()).toBe('abcdef')
    expect([a.events, b.events]).toEqual([[], ['received 6', 'uploaded 6']])
  })

  it('gets 500, never 416 with the size of the file, if other nodes change the session all the time', async () => {
    const { storage, a, id } = await twoNodes()
    const other = storage.open()
    const append = vi.spyOn(a.store, 'append').mockImplementation(async () => {
      await other.append(await loaded(other, id), body('abcdef'), { total: 6, durable: true })
      append.mockRejectedValue(new BitsError('out-of-sync'))
      throw new BitsError('out-of-sync')
    })
    expect(summary(await a.client.fragment(0, abcdef, 6))).toEqual([500, 6])
    expect(append).toHaveBeenCalledTimes(4)
    append.mockRestore()
    expect(summary(await a.client.fragment(0, abcdef, 6))).toEqual([200, 6])
  })

  it('gets session-not-found if the other node has removed the session meanwhile', async () => {
    const { a, b } = await twoNodes()
    const answer = await overtake(a, [0, abc, 9], () => b.client.cancel())
    expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
    expect(b.events).toEqual(['cancelled 0'])
  })

  it('gets session-not-found from a cached session that the other node has removed', async () => {
    const { a, b } = await twoNodes()
    await a.client.fragment(0, abc, 9)
    await b.client.cancel()
    const answer = await a.client.fragment(3, abc, 9)
    expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
  })

  it('reads its body to the end before a 200, also if the store has not read it', async () => {
    const { storage, a, id } = await twoNodes({ maxFragmentSize: '32mb' })
    const other = storage.open()
    // More than the server drains after an early answer.
    const bytes = Buffer.alloc(17 * 1024 * 1024)
    vi.spyOn(a.store, 'append').mockImplementationOnce(async () => {
      const options = { total: bytes.length + 1, durable: false }
      await other.append(await loaded(other, id), body(bytes), options)
      throw new BitsError('out-of-sync')
    })
    expect(summary(await a.client.fragment(0, bytes, bytes.length + 1))).toEqual([200, bytes.length])
    expect(summary(await a.client.fragment(bytes.length, Buffer.from('x'), bytes.length + 1))).toEqual([
      200,
      bytes.length + 1,
    ])
  })
})

describe('append with publish', () => {
  it('publishes with the last fragment, and emits received, then uploaded', async () => {
    const { a, file } = await twoNodes()
    const [append, publish] = [vi.spyOn(a.store, 'append'), vi.spyOn(a.store, 'publish')]
    await a.client.fragment(0, abc, 6)
    await a.client.fragment(3, def, 6)
    expect(append.mock.calls.map(([, , options]) => options.publish)).toEqual([false, true])
    expect(publish).not.toHaveBeenCalled()
    expect(a.events).toEqual(['received 3', 'received 6', 'uploaded 6'])
    expect(file()).toBe('abcdef')
  })

  it('is followed by publish if the store ignores the option', async () => {
    const { a, file } = await twoNodes({}, { publishesOnAppend: false })
    const publish = vi.spyOn(a.store, 'publish')
    await a.client.fragment(0, abc, 3)
    expect(publish).toHaveBeenCalledTimes(1)
    expect(a.events).toEqual(['received 3', 'uploaded 3'])
    expect(file()).toBe('abc')
  })

  it.each([{ onUpload: () => {} }, { commitOn: 'close' as const }])(
    'is not used with onUpload or commitOn: close (%o)',
    async (options) => {
      const { a } = await twoNodes(options)
      const append = vi.spyOn(a.store, 'append')
      await a.client.fragment(0, abc, 3)
      expect(append.mock.calls.map(([, , { publish }]) => publish)).toEqual([false])
    },
  )

  it('publishes the empty file of Close-Session', async () => {
    const { a, file } = await twoNodes()
    const publish = vi.spyOn(a.store, 'publish')
    expect((await a.client.close()).status).toBe(200)
    expect(publish).not.toHaveBeenCalled()
    expect(a.events).toEqual(['received 0', 'uploaded 0', 'closed 0'])
    expect(file()).toBe('')
  })

  it('gets 403 and the bytes held if the name was taken, as publish does', async () => {
    const { storage, a, session } = await twoNodes()
    await a.client.fragment(0, abc, 6)
    storage.files.set('a.bin', Buffer.from('another'))
    const answer = await a.client.fragment(3, def, 6)
    expect([...summary(answer), hresult(answer)]).toEqual([403, 3, '0x80070005'])
    expect(a.events).toEqual(['received 3', 'refused destination-exists'])
    expect(await session()).toMatchObject({ state: 'receiving', received: 3 })
    expect(storage.files.get('a.bin')?.toString()).toBe('another')
  })

  it('leaves no session that Close-Session takes for an empty file if the name was taken', async () => {
    const { storage, a } = await twoNodes()
    storage.files.set('a.bin', Buffer.from('another'))
    expect((await a.client.fragment(0, abc, 3)).status).toBe(403)
    storage.files.clear()
    expect((await a.client.close()).status).toBe(200)
    expect([...storage.files]).toEqual([])
  })
})

it('Create-Session passes to the store whether a hook may read the bytes', async () => {
  for (const [options, mayReadBytes] of [
    [{}, false],
    [{ onUpload: () => {} }, true],
  ] as const) {
    const { a } = await twoNodes(options)
    const create = vi.spyOn(a.store, 'create')
    await a.client.create()
    const [[, passed] = []] = create.mock.calls
    expect(passed?.mayReadBytes).toBe(mayReadBytes)
    expect(passed?.signal).toBeInstanceOf(AbortSignal)
  }
})

/** A hook that waits until `resolve` or `reject` is called for its first call; later calls return at once. */
function slowHook() {
  const [called, done] = [withResolvers<void>(), withResolvers<void>()]
  const hook = vi.fn(async () => {
    if (hook.mock.calls.length > 1) return
    called.resolve()
    await done.promise
  })
  return { hook, called: called.promise, resolve: done.resolve, reject: done.reject }
}

describe('Two nodes with one session: onUpload', () => {
  it('runs at one node, and the other one waits for its decision', async () => {
    const { hook, called, resolve } = slowHook()
    const { a, b, file } = await twoNodes({ onUpload: hook })
    const acquire = vi.spyOn(b.store, 'acquireDecision')
    const first = a.client.fragment(0, abc, 3)
    await called
    const second = b.client.fragment(0, abc, 3)
    await vi.waitUntil(() => acquire.mock.calls.length > 0)
    resolve()
    expect([await first, await second].map(summary)).toEqual([
      [200, 3],
      [200, 3],
    ])
    expect(hook).toHaveBeenCalledTimes(1)
    expect(acquire).toHaveBeenCalledTimes(1)
    expect(file()).toBe('abc')
    // The bytes were held before, by the first node.
    expect([a.events, b.events]).toEqual([['received 3', 'uploaded 3'], ['received 3']])
  })

  it('gets 503 after lockTimeout, and 200 later', async () => {
    const { hook, called, resolve } = slowHook()
    const { a, b } = await twoNodes({ onUpload: hook, lockTimeout: 20 })
    const first = a.client.fragment(0, abc, 3)
    await called
    expect((await b.client.fragment(0, abc, 3)).status).toBe(503)
    resolve()
    expect((await first).status).toBe(200)
    expect(summary(await b.client.fragment(0, abc, 3))).toEqual([200, 3])
    expect(hook).toHaveBeenCalledTimes(1)
  })

  it('gets the permanent rejection of the other node', async () => {
    const { hook, called, reject } = slowHook()
    const { a, b } = await twoNodes({ onUpload: hook })
    const first = a.client.fragment(0, abc, 3)
    await called
    const second = b.client.fragment(0, abc, 3)
    reject(new BitsError('application-refused', 'a virus'))
    expect([(await first).status, (await second).status]).toEqual([403, 403])
    expect(hook).toHaveBeenCalledTimes(1)
  })

  it('runs at the other node after it has failed', async () => {
    const { hook, called, reject } = slowHook()
    const { a, b, file } = await twoNodes({ onUpload: hook })
    const first = a.client.fragment(0, abc, 3)
    await called
    const second = b.client.fragment(0, abc, 3)
    reject(new Error('not now'))
    expect([(await first).status, (await second).status]).toEqual([500, 200])
    expect(hook).toHaveBeenCalledTimes(2)
    expect(file()).toBe('abc')
  })

  it('is not awaited any longer for a client that has disconnected', async () => {
    const { hook, called, resolve } = slowHook()
    const { a, b } = await twoNodes({ onUpload: hook })
    const acquire = vi.spyOn(b.store, 'acquireDecision')
    const first = a.client.fragment(0, abc, 3)
    await called
    const request = begin(b.client.url, 'Fragment', { headers: b.client.range(0, 3, 3) })
    request.on('error', () => {})
    request.end(abc)
    await vi.waitUntil(() => acquire.mock.calls.length > 0)
    request.destroy()
    await expect(acquire.mock.results[0]?.value).rejects.toMatchObject({ code: 'disconnected' })
    resolve()
    expect((await first).status).toBe(200)
  })

  it('excludes the other node until it ends, also if its client has disconnected', async () => {
    const { hook, called, resolve } = slowHook()
    const { a, b, file } = await twoNodes({ onUpload: hook, lockTimeout: 20 })
    const request = begin(a.client.url, 'Fragment', { headers: a.client.range(0, 3, 3) })
    request.on('error', () => {})
    request.end(abc)
    await called
    const [[, caller] = []] = hook.mock.calls as unknown as [[unknown, { socket: NodeJS.EventEmitter }]]
    const closed = once(caller?.socket as NodeJS.EventEmitter, 'close')
    request.destroy()
    await closed
    expect((await b.client.fragment(0, abc, 3)).status).toBe(503)
    resolve()
    await vi.waitUntil(() => file() === 'abc')
    expect(summary(await b.client.fragment(0, abc, 3))).toEqual([200, 3])
    expect(hook).toHaveBeenCalledTimes(1)
  })

  it.each([0, 3])(
    'does not run if bytes from %i on were lost while the node waited: 416 and the offset',
    async (from) => {
      const { hook, called, reject } = slowHook()
      const { storage, a, b, id, file } = await twoNodes({ onUpload: hook })
      const acquire = vi.spyOn(b.store, 'acquireDecision')
      const first = a.client.fragment(0, abcdef, 6)
      await called
      const second = b.client.fragment(0, abcdef, 6)
      await vi.waitUntil(() => acquire.mock.calls.length > 0)
      storage.loseBytes(id, from)
      reject(new Error('not now'))
      expect((await first).status).toBe(500)
      expect(summary(await second)).toEqual([416, from])
      expect(hook).toHaveBeenCalledTimes(1)
      // The lease was released.
      expect(summary(await b.client.fragment(from, abcdef.subarray(from), 6))).toEqual([200, 6])
      expect(file()).toBe('abcdef')
    },
  )

  it('is called with a lease that is held until the file is published', async () => {
    const steps: string[] = []
    const { a } = await twoNodes({ onUpload: () => `reply ${steps.push('onUpload')}` })
    const { acquireDecision } = a.store
    for (const method of ['saveReply', 'accept', 'publish'] as const) {
      const call = a.store[method] as (...args: unknown[]) => Promise<void>
      vi.spyOn(a.store, method).mockImplementation(async (...args: unknown[]) => {
        await call(...args)
        steps.push(method)
      })
    }
    a.store.acquireDecision = async (...args) => {
      const lease = await acquireDecision?.(...args)
      if (!lease) throw new Error('no lease')
      steps.push('acquire')
      return { session: lease.session, release: () => lease.release().then(() => void steps.push('release')) }
    }
    expect((await a.client.fragment(0, abc, 3)).status).toBe(200)
    expect(steps).toEqual(['acquire', 'onUpload', 'saveReply', 'accept', 'publish', 'release'])
    // Nothing is left to decide.
    expect((await a.client.fragment(0, abc, 3)).status).toBe(200)
    expect(steps).toHaveLength(6)
  })

  it('needs no lease if there is no hook', async () => {
    const { a } = await twoNodes({}, { publishesOnAppend: false })
    const acquire = vi.spyOn(a.store, 'acquireDecision')
    expect((await a.client.fragment(0, abc, 3)).status).toBe(200)
    expect(acquire).not.toHaveBeenCalled()
  })
})

describe('Bytes that publish does not find', () => {
  it('gets 416 and the offset as a fragment', async () => {
    const { storage, a, id, file } = await twoNodes({}, { publishesOnAppend: false })
    const { reached, resume } = a.store.pause('publish')
    const answer = a.client.fragment(0, abcdef, 6)
    await reached
    storage.loseBytes(id, 3)
    resume()
    expect(summary(await answer)).toEqual([416, 3])
    expect(summary(await a.client.fragment(3, def, 6))).toEqual([200, 6])
    expect(file()).toBe('abcdef')
  })

  it.each([0, 3])('gets 404 as Close-Session with commitOn: close (%i of 6 bytes held)', async (from) => {
    const { storage, a, id, file, session } = await twoNodes({ commitOn: 'close' })
    expect((await a.client.fragment(0, abcdef, 6)).status).toBe(200)
    const { reached, resume } = a.store.pause('publish')
    const answer = a.client.close()
    await reached
    storage.loseBytes(id, from)
    resume()
    expect((await answer).status).toBe(404)
    expect(file()).toBeUndefined()
    expect(await session()).toBeUndefined()
  })
})

describe('Two nodes with one session: the end', () => {
  it('Close-Session keeps a file that the other node publishes meanwhile', async () => {
    const { a, b, file, session } = await twoNodes()
    await a.client.fragment(0, abc, 6)
    const { reached, resume } = a.store.pause('remove')
    const answer = a.client.close()
    await reached
    expect(summary(await b.client.fragment(3, def, 6))).toEqual([200, 6])
    resume()
    expect((await answer).status).toBe(200)
    expect(file()).toBe('abcdef')
    expect(await session()).toBeUndefined()
    expect(a.events.at(-1)).toBe('closed 6')
  })

  it('Close-Session does not take an upload for an empty file that the other node begins meanwhile', async () => {
    const { a, b, file } = await twoNodes()
    const { reached, resume } = a.store.pause('append')
    const answer = a.client.close()
    await reached
    await b.client.fragment(0, abc, 6)
    resume()
    expect((await answer).status).toBe(200)
    expect(file()).toBeUndefined()
  })

  it('Cancel-Session removes a session that the other node advances meanwhile', async () => {
    const { a, b, session } = await twoNodes()
    const { reached, resume } = a.store.pause('remove')
    const answer = a.client.cancel()
    await reached
    await b.client.fragment(0, abc, 6)
    resume()
    expect((await answer).status).toBe(200)
    expect(await session()).toBeUndefined()
    expect(a.events).toEqual(['cancelled 3'])
  })

  it('Cancel-Session gets session-not-found if a load finds no session, and 503 after three conflicts', async () => {
    const { a, b } = await twoNodes()
    const remove = vi.spyOn(a.store, 'remove').mockRejectedValue(new BitsError('out-of-sync'))
    expect((await a.client.cancel()).status).toBe(503)
    expect(remove).toHaveBeenCalledTimes(3)
    remove.mockImplementation(async () => {
      await b.client.cancel()
      throw new BitsError('out-of-sync')
    })
    const answer = await a.client.cancel()
    expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
  })

  it('a sweep leaves an expired session that the other node advances meanwhile', async () => {
    const { a, b, session } = await twoNodes({ expireAfter: 1000 })
    vi.setSystemTime(Date.now() + 2000)
    try {
      const { reached, resume } = a.store.pause('remove')
      const sweep = a.upload.sweep()
      await reached
      await b.client.fragment(0, abc, 6)
      resume()
      expect(await sweep).toMatchObject({ expired: 0 })
      expect(await session()).toMatchObject({ received: 3 })
    } finally {
      vi.useRealTimers()
    }
  })
})

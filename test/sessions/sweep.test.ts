import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type BitsUploadOptions, bitsUpload, memoryStore } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { later } from '../support/later.ts'
import { withResolvers } from '../support/promise.ts'
import { uploadServer } from '../support/server.ts'
import { body, listed, loaded, newSession } from '../support/store.ts'

const DayMs = 24 * 60 * 60 * 1000

/** The two checks of a sweep are 10 ms apart. */
const expiring = { expireAfter: 1000, sweepEvery: 0 }

/** A store with `count` sessions that expired long ago. */
async function storeWithOldSessions(count: number) {
  const store = memoryStore()
  const sessions = Array.from({ length: count }, () => newSession({ created: 0 }))
  for (const session of sessions) await store.create(session)
  return { store, ids: sessions.map(({ id }) => id).sort() }
}

/** Mocks `Date.now()` until the end of the test. */
function mockClock() {
  const clock = vi.spyOn(Date, 'now')
  onTestFinished(() => clock.mockRestore())
  return clock
}

describe('upload.sweep', () => {
  it('removes the other sessions when one cannot be removed, and throws its error', async () => {
    const { store, ids } = await storeWithOldSessions(3)
    const [stuck] = ids
    const remove = store.remove.bind(store)
    store.remove = async (session) => {
      if (session.id === stuck) throw new Error('it cannot be removed')
      await remove(session)
    }
    const upload = bitsUpload({ store, ...expiring })
    await expect(upload.sweep()).rejects.toThrow('it cannot be removed')
    expect(await listed(store)).toEqual([stuck])
    store.remove = remove
    expect(await upload.sweep()).toEqual({ expired: 1, open: 0 })
  })

  it('removes and counts the other sessions when one cannot be read, and throws its error', async () => {
    const store = memoryStore()
    const [old, recent] = [newSession({ created: 0 }), newSession({ name: 'b' })]
    for (const session of [old, recent]) await store.create(session)
    const { list } = store
    store.list = async function* (options = {}) {
      options.onUnreadable?.(new Error('a corrupt journal'))
      yield* list(options)
    }
    const upload = bitsUpload({ store, ...expiring })
    await expect(upload.sweep()).rejects.toThrow('a corrupt journal')
    expect(await listed(store)).toEqual([recent.id])
  })

  it('does not count expired sessions for maxSessionsPerOwner, so that the newest one stays', async () => {
    const store = memoryStore()
    const now = Date.now()
    const [, , ...recent] = await Promise.all(
      [0, 0, now - 20, now - 10].map((created) => store.create(newSession({ owner: 'ann', created }))),
    )
    const upload = bitsUpload({ store, ...expiring, expireAfter: 60_000, maxSessionsPerOwner: 2 })
    expect(await upload.sweep()).toEqual({ expired: 2, open: 2 })
    expect(await listed(store)).toEqual(recent.map(({ id }) => id).sort())
  })
})

describe('Second check of a sweep', () => {
  it('keeps all sessions if the clock was 30 days ahead at the first check', async () => {
    const store = memoryStore()
    for (const name of ['a', 'b']) await store.create(newSession({ name }))
    const clock = mockClock()
    const { list } = store
    store.list = async function* (options) {
      const ahead = Date.now() + 30 * DayMs
      clock.mockImplementation(() => ahead)
      yield* list(options)
      clock.mockRestore()
    }
    const upload = bitsUpload({ store, ...expiring, expireAfter: 5000 })
    const expired = vi.fn()
    upload.events.on('expired', expired)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 2 })
    expect(await listed(store)).toHaveLength(2)
    expect(expired).not.toHaveBeenCalled()
  })

  it.each<[string, Partial<BitsUploadOptions>, number]>([
    ['a minute', {}, 60_000],
    ['a hundredth of expireAfter', { expireAfter: 10_000 }, 100],
  ])('takes place after %s, once for all sessions', async (_, options, wait) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { store, ids } = await storeWithOldSessions(3)
    const upload = bitsUpload({ store, sweepEvery: 0, ...options })
    const sweep = upload.sweep()
    // Calls of the store have timers, too.
    for (let i = 0; i < 100 && vi.getTimerCount() !== 1; i += 1) await turn()
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(wait - 1)
    await turn()
    expect(await listed(store)).toEqual(ids)
    vi.advanceTimersByTime(1)
    expect(await sweep).toEqual({ expired: 3, open: 0 })
    expect(await listed(store)).toEqual([])
  })

  it('keeps a session that received bytes since the first check', async () => {
    const { store, ids } = await storeWithOldSessions(2)
    const [active = ''] = ids
    const upload = bitsUpload({ store, sweepEvery: 0, expireAfter: 20_000 })
    const sweep = upload.sweep()
    await turn()
    await store.append(await loaded(store, active), body('abc'), { total: 9, durable: false })
    expect(await sweep).toEqual({ expired: 1, open: 1 })
    expect(await listed(store)).toEqual([active])
  })

  it('counts each session once for two sweeps at the same time, and reports only what is open', async () => {
    const { store } = await storeWithOldSessions(3)
    const upload = bitsUpload({ store, ...expiring })
    const results = await Promise.all([upload.sweep(), upload.sweep()])
    expect(results.map(({ expired }) => expired).reduce((sum, count) => sum + count)).toBe(3)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 0 })
  })

  it('does not take place after close(), which does not wait for it', async () => {
    const { store, ids } = await storeWithOldSessions(2)
    const upload = bitsUpload({ store, sweepEvery: 0 })
    const sweep = upload.sweep()
    await turn()
    await upload.close()
    expect(await sweep).toEqual({ expired: 0, open: 2 })
    expect(await listed(store)).toEqual(ids)
  })

  it('is not waited for when uploads are disabled', async () => {
    const { store } = await storeWithOldSessions(2)
    await store.create(newSession())
    const upload = bitsUpload({ store, sweepEvery: 0, enabled: false })
    const timers = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => timers.mockRestore())
    expect(await upload.sweep()).toEqual({ expired: 3, open: 0 })
    expect(timers.mock.calls.map(([, ms]) => ms)).not.toContain(60_000)
  })

  it('does not delay the recount of a Create-Session above maxSessions', async () => {
    const { store, ids } = await storeWithOldSessions(2)
    // With bytes, because empty ones expire early at the limit.
    const clock = mockClock().mockReturnValue(0)
    for (const id of ids) {
      await store.append(await loaded(store, id), body('abc'), { total: 9, durable: false })
    }
    clock.mockRestore()
    const { upload, url } = await uploadServer({ store, sweepEvery: 0, maxSessions: 2 })
    const sweep = upload.sweep()
    await turn()
    const statusOf = async (name: string) => (await new TestClient(new URL(name, url)).create()).status
    // The listing of the sweep is a recount, and the next one takes place a minute later.
    expect(await statusOf('a.bin')).toBe(503)
    // As another process does.
    await store.remove(await loaded(store, ids[0] as string))
    later(60_000)
    expect(await statusOf('b.bin')).toBe(200)
    await upload.close()
    expect(await sweep).toEqual({ expired: 0, open: 2 })
  })

  it('keeps the process alive for a call of sweep(), and not for a scheduled sweep', async () => {
    const { store } = await storeWithOldSessions(1)
    const timers = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => timers.mockRestore())
    /** The timers of 77 ms, which nothing else has. */
    const waits = () => timers.mock.results.filter((_, i) => timers.mock.calls[i]?.[1] === 77)
    const { upload, url } = await uploadServer({ store, expireAfter: 7700, sweepEvery: 1_000_000 })
    const swept = withResolvers<void>()
    upload.events.on('expired', () => swept.resolve())
    expect((await new TestClient(new URL('a.bin', url)).create()).status).toBe(200)
    await swept.promise
    await store.create(newSession({ created: 0 }))
    await upload.sweep()
    expect(waits().map(({ value }) => (value as NodeJS.Timeout).hasRef())).toEqual([false, true])
  })
})

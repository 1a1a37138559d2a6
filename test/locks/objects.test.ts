import { describe, expect, it, vi } from 'vitest'
import { locking } from '../../lib/testing/lock.ts'
import { withResolvers } from '../support/promise.ts'
import { contractOf } from './objects/contract.ts'
import { onEachService } from './objects/services.ts'
import { findHolder, keysAt, kindsAt, nodeAt, quick, undying, until } from './objects/setting.ts'
import { unreachable, type WatchedSpace } from './objects/watched-space.ts'

/** How often something was asked for. */
const count = ({ requests }: WatchedSpace, request: RegExp): number =>
  requests.filter((one) => request.test(one)).length

onEachService('objectLocker', (newPlace) => {
  describe('keeps the contract', () => {
    for (const { title, run } of locking.cases) it(title, async () => run(...contractOf(await newPlace())))
  })

  it('has one heartbeat and one look at wants for any number of locks', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, { ...undying, wants: 100 })
    const names = Array.from({ length: 1000 }, (_, i) => `name ${i}`)
    const locks = await Promise.all(names.map((name) => locker.acquire(name)))
    expect(count(space, /^put locks/)).toBe(1000)
    expect(count(space, /^get|^head|^remove/)).toBe(0)
    space.requests.length = 0
    await until(() => count(space, /^put nodes/) >= 5)
    const [beats, looks] = [count(space, /^put nodes/), count(space, /^list wants/)]
    expect(space.requests).toHaveLength(beats + looks)
    // At most two in the time of one heartbeat, which may come late.
    expect(looks).toBeLessThanOrEqual(2 * beats + 2)
    expect(looks).toBeGreaterThan(2)
    space.requests.length = 0
    await Promise.all(locks.map((lock) => lock.release()))
    expect(count(space, /^remove locks/)).toBe(1000)
    expect(count(space, /^put locks|^get|^head/)).toBe(0)
  })

  it('asks for nothing, and leaves nothing, when it is idle', async () => {
    const place = await newPlace()
    const [idle, busy] = [nodeAt(place, quick), nodeAt(place, quick)]
    for (let time = 0; time < 2; time += 1) {
      await (await idle.locker.acquire('a')).release()
      await until(async () => (await keysAt(place)).length === 0)
    }
    await busy.locker.acquire('b')
    // The last look of the idle one at its wants is behind it.
    await until(() => count(busy.space, /^put nodes/) >= 2)
    const before = idle.space.requests.length
    await until(() => count(busy.space, /^put nodes/) >= 8)
    expect(idle.space.requests).toHaveLength(before)
    expect(await kindsAt(place)).toEqual(['locks', 'nodes'])
    // It was idle twice, and is as busy now as the other one.
    await idle.locker.acquire('a')
    for (const { space } of [idle, busy]) space.requests.length = 0
    await until(() => count(busy.space, /^list wants/) >= 20)
    expect(count(idle.space, /^list wants/)).toBeLessThan(30)
  })

  it('lets those of its own process give up, whatever their requests are made of', async () => {
    const { locker } = nodeAt(await newPlace(), quick)
    const controller = new AbortController()
    class Request {
      get signal(): AbortSignal {
        return controller.signal
      }
    }
    const lock = await locker.acquire('a')
    const waiting = locker.acquire('a', new Request())
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await lock.release()
  })

  it('stays alive from one packet to the next', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, { ...undying, beat: 1e6, linger: 10_000 })
    for (let packet = 0; packet < 10; packet += 1) {
      await (await locker.acquire('a')).release()
      // As long as the next one takes to come.
      await keysAt(place)
    }
    expect(count(space, /^put nodes/)).toBe(1)
    expect(count(space, /^put locks/)).toBe(10)
    expect(count(space, /^remove/)).toBe(10)
  })

  it('leaves nothing when a wait is given up', async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const onWanted = vi.fn()
    const lock = await one.locker.acquire('a', { onWanted })
    const controller = new AbortController()
    const reason = new Error('the client is gone')
    const waiting = other.locker.acquire('a', { signal: controller.signal })
    await until(() => onWanted.mock.calls.length > 0)
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await until(async () => (await keysAt(place)).length === 2)
    expect(await kindsAt(place)).toEqual(['locks', 'nodes'])
    await lock.release()
    await until(async () => (await keysAt(place)).length === 0)
    expect(onWanted).toHaveBeenCalledTimes(1)
  })

  it('gives up at once, and leaves nothing of a lock that comes thereafter', async () => {
    const place = await newPlace()
    const { locker, space } = nodeAt(place, undying)
    const written = withResolvers<void>()
    const answered = withResolvers<void>()
    space.meddle(/^put locks/, async (run) => {
      const version = await run()
      written.resolve()
      await answered.promise
      return version
    })
    const controller = new AbortController()
    const reason = new Error('the client is gone')
    const waiting = locker.acquire('a', { signal: controller.signal })
    await written.promise
    expect(await findHolder(place, 'a')).toBeDefined()
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    answered.resolve()
    space.leaveAlone()
    await (await locker.acquire('a')).release()
    await until(async () => (await keysAt(place)).length === 0)
  })

  it('asks for nothing when nobody waits any more', async () => {
    const { locker, space } = nodeAt(await newPlace(), undying)
    const reason = new Error('the client is gone')
    await expect(locker.acquire('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const lock = await locker.acquire('a')
    const before = count(space, /locks/)
    const controller = new AbortController()
    const waiting = locker.acquire('a', { signal: controller.signal })
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    expect(count(space, /locks/)).toBe(before)
    await lock.release()
  })

  it('passes a want on to whom it is meant for, and not to who holds the lock after', async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const [first, second] = [vi.fn(), vi.fn()]
    const lock = await one.locker.acquire('a', { onWanted: first })
    one.space.meddle(/^list wants/, unreachable)
    const controller = new AbortController()
    const waiting = other.locker.acquire('a', { signal: controller.signal })
    await until(async () => (await kindsAt(place)).includes('wants'))
    controller.abort(new Error('the client is gone'))
    await expect(waiting).rejects.toThrow('gone')
    await lock.release()
    const next = await one.locker.acquire('a', { onWanted: second })
    one.space.leaveAlone()
    await until(async () => !(await kindsAt(place)).includes('wants'))
    expect(second).not.toHaveBeenCalled()
    expect(first).not.toHaveBeenCalled()
    await next.release()
  })

  it("takes a want for no more than it is when the lock is another node's", async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const lock = await one.locker.acquire('a')
    await one.locker.acquire('b')
    one.space.meddle(/^list wants/, unreachable)
    const waiting = other.locker.acquire('a')
    await until(async () => (await kindsAt(place)).includes('wants'))
    await lock.release()
    await waiting
    const taken = await findHolder(place, 'a')
    one.space.leaveAlone()
    await until(async () => !(await kindsAt(place)).includes('wants'))
    expect(await findHolder(place, 'a')).toEqual(taken)
  })

  it('asks seldom while it waits, however many wait', async () => {
    const place = await newPlace()
    const [one, other] = [nodeAt(place, undying), nodeAt(place, undying)]
    const names = Array.from({ length: 20 }, (_, i) => `name ${i}`)
    const locks = await Promise.all(names.map((name) => one.locker.acquire(name)))
    const waiting = names.map((name) => other.locker.acquire(name))
    await until(() => count(other.space, /^put wants/) === 20)
    other.space.requests.length = 0
    await until(() => count(other.space, /^put nodes/) >= 3)
    // Each looks at its lock; at the heartbeat of the one who has them all, one looks for all.
    expect(count(other.space, /^get nodes/)).toBeLessThanOrEqual(2 * count(other.space, /^put nodes/) + 2)
    expect(count(other.space, /^put (locks|wants)/)).toBe(0)
    await Promise.all(locks.map((lock) => lock.release()))
    for (const lock of await Promise.all(waiting)) await lock.release()
  })
})

import assert from 'node:assert/strict'
import type { Lock, Locker } from '../locks/locker.ts'
import { type Section, test } from './contract-test.ts'
import { keeping } from './lock-kept.ts'
import { lockerOf, name, other, releaseListener, roundTrip, twoLockers } from './lockers.ts'

export const lockSection: Section = {
  name: 'locker',
  tests: [
    test('is present exactly if supports.locker is true, and paths() if supports.paths is true', async ({
      store,
    }, { locker, paths }) => {
      // Else it would be used, and tested by nobody.
      assert.equal(store.locker !== undefined, locker, 'locker')
      assert.equal(store.paths !== undefined, paths, 'paths()')
    }),
    test(
      'grants the lock to the next request only after the holder released it',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const order: string[] = []
        const wanted = releaseListener()
        const lock = await one.acquire(name, { onReleaseRequested: wanted.onReleaseRequested })
        const next = another.acquire(name).then((acquired) => {
          order.push('acquired')
          return acquired
        })
        await wanted.told
        await roundTrip(one, another)
        order.push('released')
        await lock.release()
        await (await next).release()
        assert.deepEqual(order, ['released', 'acquired'])
      },
      'locker',
    ),
    test(
      'grants one lock to 12 concurrent requests one at a time',
      async (setting, supports) => {
        const lockers = await twoLockers(setting, supports)
        let holders = 0
        await Promise.all(
          Array.from({ length: 12 }, async (_, i) => {
            const lock = await (lockers[i % 2] as Locker).acquire(name)
            holders += 1
            assert.equal(holders, 1, 'two hold it at once')
            await roundTrip(...lockers)
            holders -= 1
            await lock.release()
          }),
        )
      },
      'locker',
    ),
    test(
      'tryAcquire() returns undefined while the lock is held, and the lock when it is free',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const lock = await one.tryAcquire(name)
        assert.ok(lock, 'it is free')
        assert.equal(await another.tryAcquire(name), undefined)
        assert.equal(await one.tryAcquire(name), undefined)
        await lock.release()
        const again = await another.tryAcquire(name)
        assert.ok(again, 'it is free again')
        await again.release()
      },
      'locker',
    ),
    test(
      'locks different sessions independently',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const lock = await one.acquire(name)
        const free = await another.acquire(other)
        await free.release()
        await lock.release()
      },
      'locker',
    ),
    test(
      'grants a lock in request order within one process',
      async ({ store }) => {
        // Of one process; among several nobody sees who came first.
        const locker = lockerOf(store)
        const order: number[] = []
        const lock = await locker.acquire(name)
        const rest = [1, 2, 3, 4].map(async (i) => {
          const next = await locker.acquire(name)
          order.push(i)
          await next.release()
        })
        await lock.release()
        await Promise.all(rest)
        assert.deepEqual(order, [1, 2, 3, 4])
      },
      'locker',
    ),
    test(
      'calls onReleaseRequested of the holder once, and only when another request waits',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const wanted = releaseListener()
        const lock = await one.acquire(name, { onReleaseRequested: wanted.onReleaseRequested })
        await roundTrip(one, another)
        assert.equal(wanted.count, 0, 'nobody waits')
        const waiting = [another.acquire(name), one.acquire(name), another.acquire(name)]
        await wanted.told
        await roundTrip(one, another)
        await lock.release()
        // Whoever has it passes it on, in whatever order.
        await Promise.all(waiting.map(async (next) => (await next).release()))
        assert.equal(wanted.count, 1)
      },
      'locker',
    ),
    test(
      'calls onReleaseRequested of a new holder when another request already waits',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const first = await one.acquire(name)
        const wanted = [releaseListener(), releaseListener()] as const
        const waiting = [
          one.acquire(name, { onReleaseRequested: wanted[0].onReleaseRequested }),
          another.acquire(name, { onReleaseRequested: wanted[1].onReleaseRequested }),
        ]
        await roundTrip(one, another)
        await first.release()
        // Whichever has it learns of the other.
        const lock: Lock = await Promise.race(waiting)
        await Promise.race([wanted[0].told, wanted[1].told])
        await lock.release()
        for (const next of await Promise.all(waiting)) await next.release()
      },
      'locker',
    ),
    test(
      'rejects a waiting acquire() with the abort reason and leaves no lock held',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const wanted = releaseListener()
        const lock = await one.acquire(name, { onReleaseRequested: wanted.onReleaseRequested })
        const controller = new AbortController()
        const reason = new Error('the client is gone')
        const waiting = another.acquire(name, { signal: controller.signal })
        await wanted.told
        controller.abort(reason)
        await assert.rejects(waiting, (thrown) => thrown === reason)
        await lock.release()
        for (const each of [name, other]) {
          const free = await one.acquire(each)
          await free.release()
        }
      },
      'locker',
    ),
    test(
      'ignores a second release()',
      async (setting, supports) => {
        const [one, another] = await twoLockers(setting, supports)
        const lock = await one.acquire(name)
        await lock.release()
        const next = await another.acquire(name)
        await lock.release()
        assert.equal(await one.tryAcquire(name), undefined, 'the next one holds it')
        await next.release()
      },
      'locker',
    ),
    ...keeping,
  ],
}

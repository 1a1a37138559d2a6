import assert from 'node:assert/strict'
import { type Lock, type Locker, lockKey } from '../locks/locker.ts'
import { newGuid } from '../protocol/packet.ts'
import { type Section, test } from './contract-test.ts'
import { key, lockerOf, otherKey, releaseListener, roundTrip, twoLockers } from './lockers.ts'

export const lockSection: Section = {
  name: 'locker',
  tests: [
    test('is present exactly if capabilities.locker is true, and paths() if capabilities.paths is true', async ({
      store,
    }, { locker, paths }) => {
      // An undeclared locker would be used without tests.
      assert.equal(store.locker !== undefined, locker, 'locker')
      assert.equal(store.paths !== undefined, paths, 'paths()')
    }),
    test(
      'grants the lock to the next request only after the holder released it',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const order: string[] = []
        const listener = releaseListener()
        const lock = await one.acquire(key, { onReleaseRequested: listener.onReleaseRequested })
        const next = another.acquire(key).then((acquired) => {
          order.push('acquired')
          return acquired
        })
        await listener.called
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
      async (fixture, capabilities) => {
        const lockers = await twoLockers(fixture, capabilities)
        let holders = 0
        await Promise.all(
          Array.from({ length: 12 }, async (_, i) => {
            const lock = await (lockers[i % 2] as Locker).acquire(key)
            holders += 1
            assert.equal(holders, 1, 'two requests hold the lock at once')
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
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const lock = await one.tryAcquire(key)
        assert.ok(lock, 'the lock is free')
        assert.equal(await another.tryAcquire(key), undefined)
        assert.equal(await one.tryAcquire(key), undefined)
        await lock.release()
        const again = await another.tryAcquire(key)
        assert.ok(again, 'the lock is free again')
        await again.release()
      },
      'locker',
    ),
    test(
      'locks different sessions independently',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const lock = await one.acquire(key)
        const other = await another.acquire(otherKey)
        await other.release()
        await lock.release()
      },
      'locker',
    ),
    test(
      'grants a lock in request order within one process',
      async ({ store }) => {
        // Between processes no order is defined.
        const locker = lockerOf(store)
        const order: number[] = []
        const lock = await locker.acquire(key)
        const rest = [1, 2, 3, 4].map(async (i) => {
          const next = await locker.acquire(key)
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
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const listener = releaseListener()
        const lock = await one.acquire(key, { onReleaseRequested: listener.onReleaseRequested })
        await roundTrip(one, another)
        assert.equal(listener.count, 0, 'no request waits')
        const waiting = [another.acquire(key), one.acquire(key), another.acquire(key)]
        await listener.called
        await roundTrip(one, another)
        await lock.release()
        // In any order.
        await Promise.all(waiting.map(async (next) => (await next).release()))
        assert.equal(listener.count, 1)
      },
      'locker',
    ),
    test(
      'calls onReleaseRequested of a new holder when another request already waits',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const first = await one.acquire(key)
        const listeners = [releaseListener(), releaseListener()] as const
        const waiting = [
          one.acquire(key, { onReleaseRequested: listeners[0].onReleaseRequested }),
          another.acquire(key, { onReleaseRequested: listeners[1].onReleaseRequested }),
        ]
        await roundTrip(one, another)
        await first.release()
        const lock: Lock = await Promise.race(waiting)
        await Promise.race([listeners[0].called, listeners[1].called])
        await lock.release()
        for (const next of await Promise.all(waiting)) await next.release()
      },
      'locker',
    ),
    test(
      'rejects a waiting acquire() with the abort reason and leaves no lock held',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const listener = releaseListener()
        const lock = await one.acquire(key, { onReleaseRequested: listener.onReleaseRequested })
        const controller = new AbortController()
        const reason = new Error('the client closed the connection')
        const waiting = another.acquire(key, { signal: controller.signal })
        await listener.called
        controller.abort(reason)
        await assert.rejects(waiting, (thrown) => thrown === reason)
        await lock.release()
        for (const each of [key, otherKey]) {
          const free = await one.acquire(each)
          await free.release()
        }
      },
      'locker',
    ),
    test(
      'ignores a second release()',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const lock = await one.acquire(key)
        await lock.release()
        const next = await another.acquire(key)
        await lock.release()
        assert.equal(await one.tryAcquire(key), undefined, 'the next request holds the lock')
        await next.release()
      },
      'locker',
    ),
    test(
      'grants the lock of a new session (isNew) exclusively, and to the next request after its release',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const newKey = lockKey({ id: newGuid(await one.idPrefix?.()), path: '/upload/a.bin' })
        const lock = await one.acquire(newKey, { isNew: true })
        assert.equal(await another.tryAcquire(newKey), undefined)
        assert.equal(await one.tryAcquire(newKey), undefined)
        const waiting = another.acquire(newKey)
        await lock.release()
        const next = await waiting
        assert.equal(await one.tryAcquire(newKey), undefined)
        await next.release()
        await (await one.acquire(newKey)).release()
      },
      'locker',
    ),
    test(
      'idPrefix() returns six hexadecimal digits that no other locker returns',
      async (fixture, capabilities) => {
        const [one, another] = await twoLockers(fixture, capabilities)
        const prefix = await one.idPrefix?.()
        if (prefix === undefined) return
        assert.match(prefix, /^[0-9A-F]{6}$/)
        if (another !== one) assert.notEqual(await another.idPrefix?.(), prefix)
      },
      'locker',
    ),
  ],
}

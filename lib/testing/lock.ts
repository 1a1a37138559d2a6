import assert from 'node:assert/strict'
import type { Leaving, Lock, Locker } from '../locks/locker.ts'
import type { Store } from '../stores/store.ts'
import { type Chapter, type Setting, test } from './case.ts'
import type { Supports } from './tested.ts'

/** What a server locks a session under: id, owner and path. */
const name = JSON.stringify([
  '{0D2B6F1C-0000-4000-8000-00000000000A}',
  'Jörg "J"',
  `/upload/${'ü'.repeat(500)}`,
])
const other = JSON.stringify(['{0D2B6F1C-0000-4000-8000-00000000000B}', null, '/upload/a.bin'])

const lockerOf = ({ locker }: Store): Locker => {
  assert.ok(locker, 'supports.locker: there has to be a locker')
  return locker
}

/** Two who do not know of each other, where there can be two; else the one twice. */
async function two(setting: Setting, { sharing }: Supports): Promise<[Locker, Locker]> {
  const one = lockerOf(setting.store)
  return [one, sharing ? lockerOf(await setting.reopen()) : one]
}

/** Has both do something that takes a way to wherever locks are: what was asked before has got there. */
async function settle(...lockers: Locker[]): Promise<void> {
  for (const locker of lockers) await (await locker.acquire(other)).release()
}

/** A promise that is kept when a holder is told that it is wanted, and how often that was. */
function wanting() {
  let tell = (): void => {}
  const told = new Promise<void>((resolve) => {
    tell = resolve
  })
  const wanted = { count: 0, told, onWanted: () => {} }
  wanted.onWanted = () => {
    wanted.count += 1
    tell()
  }
  return wanted
}

/** Something to be left with a lock, and how often it was dropped. */
function leaving() {
  const left = {
    drops: 0,
    drop() {
      left.drops += 1
    },
  } satisfies Leaving & { drops: number }
  return left
}

export const locking: Chapter = {
  name: 'locker',
  cases: [
    test('what is not supported is not there', async ({ store }, { locker, paths }) => {
      // Else it would be used, and tested by nobody.
      assert.equal(store.locker !== undefined, locker, 'locker')
      assert.equal(store.paths !== undefined, paths, 'paths()')
    }),
    test(
      'a session is held by one at a time',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const order: string[] = []
        const wanted = wanting()
        const lock = await one.acquire(name, { onWanted: wanted.onWanted })
        const next = another.acquire(name).then((acquired) => {
          order.push('acquired')
          return acquired
        })
        await wanted.told
        await settle(one, another)
        order.push('released')
        await lock.release()
        await (await next).release()
        assert.deepEqual(order, ['released', 'acquired'])
      },
      'locker',
    ),
    test(
      'many get a session one after the other',
      async (setting, supports) => {
        const lockers = await two(setting, supports)
        let holders = 0
        await Promise.all(
          Array.from({ length: 12 }, async (_, i) => {
            const lock = await (lockers[i % 2] as Locker).acquire(name)
            holders += 1
            assert.equal(holders, 1, 'two hold it at once')
            await settle(...lockers)
            holders -= 1
            await lock.release()
          }),
        )
      },
      'locker',
    ),
    test(
      'tryAcquire() does not wait',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
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
      'sessions do not wait for each other',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const lock = await one.acquire(name)
        const free = await another.acquire(other)
        await free.release()
        await lock.release()
      },
      'locker',
    ),
    test(
      'who came first is served first',
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
      'the holder is told when it is wanted, once, and not before',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const wanted = wanting()
        const lock = await one.acquire(name, { onWanted: wanted.onWanted })
        await settle(one, another)
        assert.equal(wanted.count, 0, 'nobody waits')
        const waiting = [another.acquire(name), one.acquire(name), another.acquire(name)]
        await wanted.told
        await settle(one, another)
        await lock.release()
        // Whoever has it passes it on, in whatever order.
        await Promise.all(waiting.map(async (next) => (await next).release()))
        assert.equal(wanted.count, 1)
      },
      'locker',
    ),
    test(
      'a holder that was waited for when its turn came is told',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const first = await one.acquire(name)
        const wanted = [wanting(), wanting()] as const
        const waiting = [
          one.acquire(name, { onWanted: wanted[0].onWanted }),
          another.acquire(name, { onWanted: wanted[1].onWanted }),
        ]
        await settle(one, another)
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
      'who waits may give up, and holds nothing',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const wanted = wanting()
        const lock = await one.acquire(name, { onWanted: wanted.onWanted })
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
      'a second release does nothing',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const lock = await one.acquire(name)
        await lock.release()
        const next = await another.acquire(name)
        await lock.release()
        assert.equal(await one.tryAcquire(name), undefined, 'the next one holds it')
        await next.release()
      },
      'locker',
    ),
    // Not every locker has leave(); where it is, it is used.
    test(
      'what is left with a lock comes to its next holder, and is dropped once',
      async ({ store }) => {
        const locker = lockerOf(store)
        const thing = leaving()
        const first = await locker.acquire(name)
        if (!first.leave) return first.release()
        first.leave(thing)
        const another = await locker.acquire(other)
        assert.equal(another.left, undefined, 'it was left with another session')
        await another.release()
        const second = await locker.acquire(name)
        assert.equal(second.left, thing)
        second.leave?.(thing)
        await second.release()
        const third = await locker.tryAcquire(name)
        assert.equal(third?.left, thing)
        assert.equal(thing.drops, 0, 'it is in use')
        await third?.release()
        await third?.release()
        assert.equal(thing.drops, 1)
        const fourth = await locker.acquire(name)
        assert.equal(fourth.left, undefined, 'it was dropped')
        await fourth.release()
      },
      'locker',
    ),
    test(
      'what is left with a lock is dropped before another has it',
      async (setting, supports) => {
        const [one, another] = await two(setting, supports)
        const thing = leaving()
        const lock = await one.acquire(name)
        if (!lock.leave) return lock.release()
        lock.leave(thing)
        const next = await another.acquire(name)
        assert.equal(next.left, undefined)
        assert.equal(thing.drops, 1)
        await next.release()
        const again = await one.acquire(name)
        assert.equal(again.left, undefined, 'another had it meanwhile')
        await again.release()
      },
      'locker',
      'sharing',
    ),
    test(
      'what is left with a lock is dropped for what is left in its place, and by letGo()',
      async ({ store }) => {
        const locker = lockerOf(store)
        const things = [leaving(), leaving()] as const
        for (const thing of things) {
          const lock = await locker.acquire(name)
          if (!lock.leave) return lock.release()
          lock.leave(thing)
        }
        assert.deepEqual([things[0].drops, things[1].drops], [1, 0])
        assert.ok(locker.letGo, 'whatever has leave() has letGo()')
        locker.letGo()
        locker.letGo()
        assert.deepEqual([things[0].drops, things[1].drops], [1, 1])
        const next = await locker.acquire(name)
        assert.equal(next.left, undefined)
        await next.release()
      },
      'locker',
    ),
  ],
}

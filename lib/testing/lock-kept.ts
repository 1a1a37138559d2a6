import assert from 'node:assert/strict'
import { type Leaving, lockKey } from '../locks/locker.ts'
import { newGuid } from '../protocol/guid.ts'
import { type ContractTest, test } from './contract-test.ts'
import { lockerOf, name, other, twoLockers } from './lockers.ts'

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

/** Tests of the optional members of a locker. A locker without `leave()`, `begin()` or `mark()` passes. */
export const keeping: readonly ContractTest[] = [
  test(
    'passes the value of leave() to the next holder and calls drop() once',
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
    'calls drop() before another locker acquires the lock',
    async (setting, supports) => {
      const [one, another] = await twoLockers(setting, supports)
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
    'calls drop() when another leave() replaces the value, and on letGo()',
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
  test(
    'grants the lock of begin() exclusively, also after leave()',
    async (setting, supports) => {
      const [one, another] = await twoLockers(setting, supports)
      if (!one.begin) return
      const begun = lockKey({ id: newGuid(await one.mark?.()), path: '/upload/a.bin' })
      const lock = await one.begin(begun)
      assert.ok(lock, 'nobody else can have heard of it')
      assert.equal(await another.tryAcquire(begun), undefined)
      assert.equal(await one.tryAcquire(begun), undefined)
      const thing = leaving()
      if (lock.leave) lock.leave(thing)
      else await lock.release()
      const next = await another.acquire(begun)
      if (another === one) assert.ok(!lock.leave || next.left === thing, 'it was left for whoever comes next')
      else assert.equal(thing.drops, lock.leave ? 1 : 0, 'it is dropped before another has the session')
      assert.equal(await one.tryAcquire(begun), undefined)
      await next.release()
      await (await one.acquire(begun)).release()
    },
    'locker',
  ),
  test(
    'mark() returns six hexadecimal digits that no other locker returns',
    async (setting, supports) => {
      const [one, another] = await twoLockers(setting, supports)
      const mark = await one.mark?.()
      if (mark === undefined) return
      assert.match(mark, /^[0-9A-F]{6}$/)
      assert.equal(await one.mark?.(), mark, 'all sessions begin at one place')
      if (another !== one) assert.notEqual(await another.mark?.(), mark)
    },
    'locker',
  ),
]

import { createHash } from 'node:crypto'
import { onTestFinished, vi } from 'vitest'
import type { Lock } from '../../../lib/locks/locker.ts'
import { type Holder, readLock } from '../../../lib/locks/objects/lock-object.ts'
import { type Timing, usual } from '../../../lib/locks/objects/timing.ts'
import { type ObjectLocker, objectLocker } from '../../../lib/locks/objects.ts'
import { type Place, spaceAt } from './places.ts'
import { unreachable, type WatchedSpace, watchedSpace } from './watched-space.ts'

/** Nobody can wait for a death of ten seconds. */
export const quick: Timing = { beat: 200, death: 2000, linger: 200, wants: 50, poll: [20, 100] }

/** Nobody dies: what happens does not happen for that. */
export const undying: Timing = { ...quick, death: 1e6 }

export interface TestedNode {
  readonly locker: ObjectLocker
  readonly space: WatchedSpace
}

/** A node of its own, as in a process of its own. It holds nothing after the test. */
export function nodeAt(place: Place, timing: Timing = usual): TestedNode {
  const space = watchedSpace(spaceAt(place))
  const locker = objectLocker(space, timing)
  const locks: Lock[] = []
  onTestFinished(async () => {
    space.leaveAlone()
    space.meddle(/./, unreachable)
    await Promise.all(locks.map((lock) => lock.release()))
  })
  return {
    space,
    locker: {
      async acquire(name, request) {
        const lock = await locker.acquire(name, request)
        locks.push(lock)
        return lock
      },
      async tryAcquire(name) {
        const lock = await locker.tryAcquire(name)
        if (lock) locks.push(lock)
        return lock
      },
      clear: (options) => locker.clear(options),
    },
  }
}

/** All that lockers keep at a place. */
export async function keysAt(place: Place): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of spaceAt(place).list('')) keys.push(key.replace('.bits-sessions/', ''))
  return keys
}

/** The folders in which {@link keysAt} finds something. */
export const kindsAt = async (place: Place): Promise<string[]> =>
  (await keysAt(place)).map((key) => key.replace(/\/.*/, ''))

/** Who has a lock, as the service tells it; undefined: nobody. */
export async function findHolder(place: Place, name: string): Promise<Holder | undefined> {
  return readLock(spaceAt(place), createHash('sha256').update(name).digest('hex'))
}

/** Who has a lock that somebody must have. */
export async function holderAt(place: Place, name: string): Promise<Holder> {
  const holder = await findHolder(place, name)
  if (!holder) throw new Error(`Nobody has ${name}`)
  return holder
}

/** Resolves to what a check finds as soon as it finds something. */
export const until = <Found>(check: () => Found | Promise<Found>) =>
  vi.waitUntil(check, { timeout: 20_000, interval: 20 })

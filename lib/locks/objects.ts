import { createHash } from 'node:crypto'
import type { ObjectSpace, SpaceOptions } from '../objects/space.ts'
import type { Lock, Locker } from './locker.ts'
import { memoryLocker } from './memory.ts'
import { clearDead } from './objects/clear.ts'
import { type Clock, systemClock } from './objects/clock.ts'
import { Contender } from './objects/contender.ts'
import { lockObjectKey } from './objects/keys.ts'
import { type LockObject, readLock } from './objects/lock-object.ts'
import { Node } from './objects/node.ts'
import { type Timing, usual } from './objects/timing.ts'
import type { Want } from './objects/wants.ts'
import { Witness } from './objects/witness.ts'
import { once } from './once.ts'

export interface ObjectLocker extends Locker {
  /** Clears away what dead nodes left, and what this one has without knowing. To be called now and then. */
  clear(options?: SpaceOptions): Promise<void>
}

/**
 * A locker for any number of machines that share an object service, and need share nothing else. A lock is an object that
 * is written where none stands, in which one of all who try succeeds, and removed at the end. It names the node that has
 * it, whose heartbeat tells of all its locks that they hold. Where the heartbeat is gone, or stands still, whoever comes
 * takes the lock over, by writing in the place of the very object that was seen.
 *
 * A process that was paused for long has lost its locks, and who works under one of them learns it late. So what is written
 * under a lock has to be written on conditions, too.
 *
 * @param timing shorter intervals, for tests over a real service
 * @param clock a clock that is advanced by hand, for tests
 */
export function objectLocker(
  space: ObjectSpace,
  timing: Timing = usual,
  clock: Clock = systemClock,
): ObjectLocker {
  /** Those of this process line up here: only the first in a line asks the service. */
  const local = memoryLocker()
  const witness = new Witness(space, timing, clock)

  /** Lets a lock go that the node has without knowing: a request came late, or a release did not get through. */
  const letGo = async ({ hash, nonce }: Want): Promise<void> => {
    const lock = await local.tryAcquire(hash)
    // Else who asks for it finds that it is void.
    if (!lock) return
    try {
      const stands = await readLock(space, hash)
      if (stands?.nonce === nonce) await space.removeIf(lockObjectKey(hash), stands.version)
    } finally {
      await lock.release()
    }
  }

  const node = new Node(space, timing, clock, letGo)
  const contender = new Contender(space, timing, clock, node, witness)

  const leave = (lock: Lock): Promise<void> => {
    node.leave()
    return lock.release()
  }

  /** Has the node live while it looks for a lock, and on if it found it. */
  const find = async <Found>(lock: Lock, look: () => Promise<Found>): Promise<Found> => {
    let found: Found | undefined
    node.enter()
    try {
      found = await look()
      return found
    } finally {
      if (!found) await leave(lock)
    }
  }

  /** Adds to a local lock that of all nodes. */
  const hold = (hash: string, lock: Lock, found: LockObject, wanted: () => void): Lock => {
    let isReleased = false
    node.hold(found.nonce, wanted)
    return {
      async release() {
        if (isReleased) return
        isReleased = true
        // If this fails the lock is let go when somebody wants it, or with the node's life. An answer that is ready is
        // not to wait for that, nor to become an error.
        await contender.giveBack(hash, found).catch(() => {})
        node.drop(found.nonce)
        await leave(lock)
      },
    }
  }

  const tryHash = async (hash: string): Promise<Lock | undefined> => {
    const lock = await local.tryAcquire(hash)
    const found = lock && (await find(lock, () => contender.try(hash)))
    return found && hold(hash, lock, found, () => {})
  }

  const clearLock = async (hash: string, options: SpaceOptions): Promise<void> => {
    const stands = await readLock(space, hash, options)
    if (stands && (await contender.isVoid(stands))) await (await tryHash(hash))?.release()
  }

  return {
    async acquire(name, request = {}) {
      const { signal } = request
      const hash = hashOf(name)
      const wanted = once(request.onReleaseRequested)
      const lock = await local.acquire(hash, { signal: request.signal, onReleaseRequested: wanted })
      const found = find(lock, () => contender.wait(hash, signal))
      return unlessAborted(
        found.then((object) => hold(hash, lock, object, wanted)),
        signal,
      )
    },
    tryAcquire: (name) => tryHash(hashOf(name)),
    clear: (options = {}) => clearDead(space, witness, clearLock, options),
  }
}

const hashOf = (name: string): string => createHash('sha256').update(name).digest('hex')

/** The lock, unless the signal comes first: then it is released as soon as it is there. */
function unlessAborted(held: Promise<Lock>, signal: AbortSignal | undefined): Promise<Lock> {
  if (!signal) return held
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(signal.reason)
    signal.addEventListener('abort', giveUp, { once: true })
    if (signal.aborted) giveUp()
    held
      .then((lock) => (signal.aborted ? lock.release() : resolve(lock)), reject)
      .finally(() => signal.removeEventListener('abort', giveUp))
  })
}

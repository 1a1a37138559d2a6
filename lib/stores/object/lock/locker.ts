import { createHash } from 'node:crypto'
import type { Lock, Locker } from '../../../locks/locker.ts'
import { memoryLocker } from '../../../locks/memory.ts'
import type { ObjectService, ServiceOptions } from '../service/service.ts'
import { LockAcquirer } from './acquire.ts'
import {
  defaultTiming,
  type ElapsedClock,
  FailureDetector,
  systemElapsedClock,
  type Timing,
} from './heartbeat.ts'
import { type LockObject, lockObjectKey, type ReleaseRequest, readLock } from './lock-objects.ts'
import { collectGarbage, LockNode } from './node.ts'

export interface ObjectLocker extends Locker {
  /** Clears away what dead nodes left, and what this one has without knowing. To be called now and then. */
  clear(options?: ServiceOptions): Promise<void>
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
  service: ObjectService,
  timing: Timing = defaultTiming,
  clock: ElapsedClock = systemElapsedClock,
): ObjectLocker {
  /** Those of this process line up here: only the first in a line asks the service. */
  const local = memoryLocker()
  const detector = new FailureDetector(service, timing, clock)

  /** Lets a lock go that the node has without knowing: a request came late, or a release did not get through. */
  const releaseUnknown = async ({ hash, token }: ReleaseRequest): Promise<void> => {
    const lock = await local.tryAcquire(hash)
    // Else who asks for it finds that it is void.
    if (!lock) return
    try {
      const current = await readLock(service, hash)
      if (current?.token === token) await service.removeIfVersion(lockObjectKey(hash), current.version)
    } finally {
      await lock.release()
    }
  }

  const node = new LockNode(service, timing, clock, releaseUnknown)
  const acquirer = new LockAcquirer(service, timing, clock, node, detector)

  const releaseLocal = (lock: Lock): Promise<void> => {
    node.release()
    return lock.release()
  }

  /** Has the node live while it looks for a lock, and on if it found it. */
  const withNode = async <Found>(lock: Lock, look: () => Promise<Found>): Promise<Found> => {
    let lockObject: Found | undefined
    node.retain()
    try {
      lockObject = await look()
      return lockObject
    } finally {
      if (!lockObject) await releaseLocal(lock)
    }
  }

  /** Adds to a local lock that of all nodes. */
  const toLock = (hash: string, lock: Lock, lockObject: LockObject, requestRelease: () => void): Lock => {
    let isReleased = false
    node.setHeld(lockObject.token, requestRelease)
    return {
      async release() {
        if (isReleased) return
        isReleased = true
        // If this fails the lock is let go when somebody wants it, or with the node's life. An answer that is ready is
        // not to wait for that, nor to become an error.
        await acquirer.release(hash, lockObject).catch(() => {})
        node.remove(lockObject.token)
        await releaseLocal(lock)
      },
    }
  }

  const tryHash = async (hash: string): Promise<Lock | undefined> => {
    const lock = await local.tryAcquire(hash)
    const lockObject = lock && (await withNode(lock, () => acquirer.tryAcquire(hash)))
    return lockObject && toLock(hash, lock, lockObject, () => {})
  }

  const clearLock = async (hash: string, options: ServiceOptions): Promise<void> => {
    const current = await readLock(service, hash, options)
    if (current && (await acquirer.isAbandoned(current))) await (await tryHash(hash))?.release()
  }

  return {
    async acquire(name, request = {}) {
      const { signal } = request
      const hash = hashLockKey(name)
      const requestRelease = callOnce(request.onReleaseRequested)
      const lock = await local.acquire(hash, { signal: request.signal, onReleaseRequested: requestRelease })
      const lockObject = withNode(lock, () => acquirer.acquire(hash, signal))
      return unlessAborted(
        lockObject.then((object) => toLock(hash, lock, object, requestRelease)),
        signal,
      )
    },
    tryAcquire: (name) => tryHash(hashLockKey(name)),
    clear: (options = {}) => collectGarbage(service, detector, clearLock, options),
  }
}

const hashLockKey = (name: string): string => createHash('sha256').update(name).digest('hex')

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

/** The same call, of which only the first is made. */
export function callOnce(call: (() => void) | undefined): () => void {
  let called = false
  return () => {
    if (!called) call?.()
    called = true
  }
}

import { createHash } from 'node:crypto'
import { callOnce, type Lock, type Locker } from '../../../locks/locker.ts'
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
  /** Removes locks and other objects of failed nodes, and locks that this node holds without knowing it. */
  clear(options?: ServiceOptions): Promise<void>
}

/**
 * A locker for any number of machines that share only an object service. A lock is an object that is written
 * on the condition that none exists, so that one of several concurrent writers succeeds, and removed on
 * release. It names its node, whose heartbeat keeps all its locks alive. If the heartbeat is missing, or has
 * not changed for the failure timeout, another node takes over the lock, by replacing exactly the object that
 * it has read.
 *
 * A process that was stopped for long has lost its locks, and its holders learn that late. Therefore all
 * writes under a lock must be conditional, too.
 *
 * @param timing shorter intervals, for tests over a real service
 * @param clock a clock that is advanced by hand, for tests
 */
export function objectLocker(
  service: ObjectService,
  timing: Timing = defaultTiming,
  clock: ElapsedClock = systemElapsedClock,
): ObjectLocker {
  /** The queue of this process: only the first request for a lock sends requests to the service. */
  const local = memoryLocker()
  const detector = new FailureDetector(service, timing, clock)

  /**
   * Releases a lock that the node holds without knowing it: its request succeeded late, or its removal
   * failed.
   */
  const releaseUnknown = async ({ hash, token }: ReleaseRequest): Promise<void> => {
    const lock = await local.tryAcquire(hash)
    // If it is taken, the request that has it finds that the lock object is abandoned.
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

  /** Keeps the node alive while a lock is acquired and, if that succeeds, until it is released. */
  const withNode = async <Result>(lock: Lock, acquire: () => Promise<Result>): Promise<Result> => {
    let lockObject: Result | undefined
    node.retain()
    try {
      lockObject = await acquire()
      return lockObject
    } finally {
      if (!lockObject) await releaseLocal(lock)
    }
  }

  /** Combines a local lock with the lock object. */
  const toLock = (hash: string, lock: Lock, lockObject: LockObject, requestRelease: () => void): Lock => {
    let isReleased = false
    node.setHeld(lockObject.token, requestRelease)
    return {
      async release() {
        if (isReleased) return
        isReleased = true
        // If this fails, the lock is released on the next release request, or when the lease ends. The
        // response to the client must neither wait for that nor fail because of it.
        await acquirer.release(hash, lockObject).catch(() => {})
        node.remove(lockObject.token)
        await releaseLocal(lock)
      },
    }
  }

  const tryAcquire = async (hash: string): Promise<Lock | undefined> => {
    const lock = await local.tryAcquire(hash)
    const lockObject = lock && (await withNode(lock, () => acquirer.tryAcquire(hash)))
    return lockObject && toLock(hash, lock, lockObject, () => {})
  }

  const releaseAbandoned = async (hash: string, options: ServiceOptions): Promise<void> => {
    const current = await readLock(service, hash, options)
    if (current && (await acquirer.isAbandoned(current))) await (await tryAcquire(hash))?.release()
  }

  return {
    async acquire(key, request = {}) {
      // Read, not spread: they may be getters of the request's class.
      const { signal, onReleaseRequested } = request
      const hash = hashLockKey(key)
      const requestRelease = callOnce(onReleaseRequested)
      const lock = await local.acquire(hash, { signal, onReleaseRequested: requestRelease })
      const acquired = withNode(lock, () => acquirer.acquire(hash, signal)).then((lockObject) =>
        toLock(hash, lock, lockObject, requestRelease),
      )
      return unlessAborted(acquired, signal)
    },
    tryAcquire: (key) => tryAcquire(hashLockKey(key)),
    clear: (options = {}) => collectGarbage(service, detector, releaseAbandoned, options),
  }
}

const hashLockKey = (key: string): string => createHash('sha256').update(key).digest('hex')

/** The lock, unless the signal is aborted before: then the lock is released when it is acquired. */
function unlessAborted(acquired: Promise<Lock>, signal: AbortSignal | undefined): Promise<Lock> {
  if (!signal) return acquired
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    acquired
      .then((lock) => (signal.aborted ? lock.release() : resolve(lock)), reject)
      .finally(() => signal.removeEventListener('abort', abort))
  })
}

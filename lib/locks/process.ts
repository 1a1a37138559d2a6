import { mkdir, rmdir } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { BitsError } from '../protocol/errors.ts'
import { LockDirectory, type SharedDirectory } from './lock-directory.ts'
import { ignoring, systemCode } from './lock-files.ts'
import { callOnce, type Lock, type Locker, type LockRequest, parseLockKey } from './locker.ts'
import { memoryLocker } from './memory.ts'
import { RetryDelayMs } from './query.ts'

/** Milliseconds without an answer after which a lock counts as held, for a request that does not wait. */
const AnswerTimeoutMs = 1000
/** Attempts to open a directory that another process removes when it closes its locker. */
const MaxOpenAttempts = 5

export interface ProcessLocker extends Locker {
  /** Stops taking part in the locks of the directory, and removes the directory if it is empty. No lock may be held. */
  close(): Promise<void>
}

/**
 * A locker for the processes of one machine that share a directory: in any containers, as long as they reach the same
 * directory, by whichever path. README.md describes the protocol.
 *
 * The locks of a process end with it. A process that is stopped keeps its locks; others wait for them.
 *
 * @param directory used for these locks only; only this user may have access, because access allows to hold locks
 * @param createDirectory creates it, if it does not exist; default: its parent must exist
 */
export function processLocker(
  directory: string,
  createDirectory: () => Promise<unknown> = () => mkdir(directory, { mode: 0o700 }).catch(ignoring('EEXIST')),
): ProcessLocker {
  const local = memoryLocker()
  let opening: Promise<LockDirectory> | undefined

  const openDirectory = async (): Promise<LockDirectory> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await createDirectory()
        // When the socket is lost, the next request opens the directory again.
        return await LockDirectory.open(directory, local, () => void close())
      } catch (error) {
        // libuv reports EACCES if the directory of a new socket does not exist.
        const isMissing = ['ENOENT', 'EACCES'].includes(String(systemCode(error)))
        if (!isMissing || attempt >= MaxOpenAttempts) throw error
      }
    }
  }

  const open = (): Promise<LockDirectory> => {
    opening ??= openDirectory().catch((error) => {
      opening = undefined
      throw error
    })
    return opening
  }

  const close = async (): Promise<void> => {
    const closing = opening
    opening = undefined
    await (await closing?.catch(() => undefined))?.close()
  }

  /**
   * Adds to the lock within this process the lock among processes. Resolves to a function that releases it; to undefined
   * if it is held, and the request does not wait.
   * @param request of an `acquire`, which waits; undefined: does not wait
   */
  const acquireShared = async (
    key: string,
    request: LockRequest | undefined,
  ): Promise<(() => Promise<void>) | undefined> => {
    const { shared } = await open()
    const creator = parseLockKey(key)?.prefix
    if (!shared || (request?.isNew && creator === shared.server.tag)) return releaseNothing
    if (creator === shared.server.tag) return acquireAsCreator(shared, key, request)
    const limits = request ?? { timeout: AnswerTimeoutMs }
    const loan = creator && (await shared.server.ask(creator, request ? 'borrow' : 'try', key, limits))
    try {
      if (loan && !loan.isFree) return undefined
      return await acquireFile(shared, key, request)
    } finally {
      // Now the lock file shows other processes who holds the lock.
      if (loan) loan.end()
    }
  }

  return {
    isRetainable: true,

    async idPrefix() {
      return (await open()).shared?.server.tag
    },

    async acquire(key, lockRequest = {}) {
      const request = new OnceRequest(lockRequest)
      const lock = await local.acquire(key, request)
      try {
        const release = (await acquireShared(key, request)) as () => Promise<void>
        return new ProcessLock(lock, release)
      } catch (error) {
        await lock.release()
        throw error
      }
    },

    async tryAcquire(key) {
      const lock = local.tryAcquireSync(key)
      if (!lock) return undefined
      let release: (() => Promise<void>) | undefined
      try {
        release = await acquireShared(key, undefined).catch(ignoreBusy)
      } finally {
        if (!release) await lock.release()
      }
      return release && new ProcessLock(lock, release)
    },

    async close() {
      await close()
      await rmdir(directory).catch(() => {})
    },
  }
}

const releaseNothing = async (): Promise<void> => {}

function ignoreBusy(error: unknown): undefined {
  if (!(error instanceof BitsError)) throw error
}

/** As the process that created the session: it needs no lock file, but no other process may have one. */
async function acquireAsCreator(
  { server, files }: SharedDirectory,
  key: string,
  request: LockRequest | undefined,
): Promise<(() => Promise<void>) | undefined> {
  for (let previous: string | undefined; ; ) {
    const holder = await files.holder(key)
    if (holder === undefined) return releaseNothing
    if (holder === server.tag || (await isGone(server, holder, previous, key, request)))
      await files.remove(key, holder)
    else if (!request) return undefined
    previous = holder
  }
}

/** As another process: by a lock file. */
async function acquireFile(
  { server, files }: SharedDirectory,
  key: string,
  request: LockRequest | undefined,
): Promise<(() => Promise<void>) | undefined> {
  for (let previous: string | undefined; ; ) {
    const holder = await files.holder(key)
    const isAcquired =
      holder === undefined
        ? await files.create(key)
        : // Its own file, which it could not remove, or of a holder that has exited.
          holder === server.tag ||
          ((await isGone(server, holder, previous, key, request)) && (await files.replace(key, holder)))
    if (isAcquired) {
      const released = server.addFileLock(key, request ?? {})
      return async () => {
        try {
          await files.remove(key)
        } finally {
          released()
        }
      }
    }
    if (!request && holder !== undefined) return undefined
    previous = holder
  }
}

/**
 * Whether the holder of a lock file has exited. If it runs, a request that waits waits until it has released the lock.
 * @param previous the holder that was seen before
 */
async function isGone(
  server: SharedDirectory['server'],
  holder: string,
  previous: string | undefined,
  key: string,
  request: LockRequest | undefined,
): Promise<boolean> {
  if (!request) return !(await server.isRunning(holder))
  // It released the lock, and could not remove its file.
  if (holder === previous) await delay(RetryDelayMs)
  const answer = await server.ask(holder, 'wait', key, request)
  answer?.end()
  return answer === undefined
}

/** A request whose `onReleaseRequested` is called once, by this process or another one. */
class OnceRequest implements LockRequest {
  readonly #request: LockRequest
  readonly isNew: boolean
  readonly timeout: number
  readonly onReleaseRequested: () => void

  constructor(request: LockRequest) {
    this.#request = request
    this.isNew = request.isNew === true
    this.timeout = request.timeout ?? 0
    this.onReleaseRequested = callOnce(() => request.onReleaseRequested?.())
  }

  /** Read only by a request that waits, because it may be created then. */
  get signal(): AbortSignal | undefined {
    return this.#request.signal
  }
}

class ProcessLock implements Lock {
  readonly #local: Lock
  #release: (() => Promise<void>) | undefined

  constructor(local: Lock, release: () => Promise<void>) {
    this.#local = local
    this.#release = release
  }

  async release(): Promise<void> {
    const release = this.#release
    this.#release = undefined
    try {
      await release?.()
    } finally {
      await this.#local.release()
    }
  }
}

import { mkdir, rmdir } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { BitsError } from '../protocol/errors.ts'
import { LocalLocks } from './local-locks.ts'
import { LockDirectory } from './lock-directory.ts'
import { ignoring, systemCode } from './lock-files.ts'
import type { LockServer } from './lock-server.ts'
import { callOnce, type Lock, type Locker, type LockRequest, parseLockKey } from './locker.ts'
import { RetryDelayMs } from './query.ts'

/** Milliseconds without an answer after which a lock counts as held, for a request that does not wait. */
const AnswerTimeoutMs = 1000
/** Attempts to open a directory that another process removes when it closes its locker. */
const MaxOpenAttempts = 5

export interface ProcessLocker extends Locker {
  /**
   * Stops taking part in the locks of the directory, and removes the directory if it is empty. No lock may be held, and
   * no request may wait.
   */
  close(): Promise<void>
}

/** Releases a lock among processes. */
type Release = () => Promise<void>

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
  const local = new LocalLocks()
  let opening: Promise<LockDirectory> | undefined

  const open = (): Promise<LockDirectory> => {
    if (opening) return opening
    const current: Promise<LockDirectory> = openDirectory(directory, createDirectory, local).then(
      (opened) => {
        // The next request opens the directory again.
        opened.watch(() => {
          if (opening === current) void close()
        })
        return opened
      },
      (error) => {
        if (opening === current) opening = undefined
        throw error
      },
    )
    opening = current
    return current
  }

  const close = async (): Promise<void> => {
    const closing = opening
    opening = undefined
    await (await closing?.catch(() => undefined))?.close()
  }

  /**
   * Adds to the lock within this process the lock among processes. Resolves to undefined if it is held, and the request
   * does not wait.
   * @param request of an `acquire`, which waits; undefined: does not wait
   */
  const acquireShared = async (
    key: string,
    request: LockRequest | undefined,
  ): Promise<Release | undefined> => {
    const { server } = await open()
    if (!server) return releaseNothing
    const creator = parseLockKey(key)?.prefix
    const isCreator = creator === server.tag
    if (isCreator && request?.isNew) return releaseNothing
    local.onSignOfLife(key)
    try {
      const wait = new HolderWait(server, key, request)
      for (;;) {
        const result = isCreator
          ? await tryAsCreator(server, key)
          : await tryWithLoan(server, creator, key, request)
        if (typeof result === 'function') return result
        if (!request || result === 'held') return undefined
        await wait.untilReleased(result.holder)
      }
    } catch (error) {
      if (request && isBusy(error)) local.onSilence(key)
      throw error
    } finally {
      local.endDependency(key)
    }
  }

  return {
    isRetainable: true,

    async idPrefix() {
      return (await open()).server?.tag
    },

    async acquire(key, lockRequest = {}) {
      const request = new OnceRequest(lockRequest)
      const lock = await local.acquire(key, request)
      try {
        const release = (await acquireShared(key, request)) as Release
        return new ProcessLock(lock, release)
      } catch (error) {
        await lock.release()
        throw error
      }
    },

    async tryAcquire(key) {
      const lock = local.tryAcquire(key)
      if (!lock) return undefined
      let release: Release | undefined
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

async function openDirectory(
  directory: string,
  createDirectory: () => Promise<unknown>,
  local: LocalLocks,
): Promise<LockDirectory> {
  for (let attempt = 1; ; attempt++) {
    try {
      await createDirectory()
      return await LockDirectory.open(directory, local)
    } catch (error) {
      const code = systemCode(error)
      // libuv reports EACCES if the directory of a new socket does not exist.
      const isMissing = code === 'ENOENT' || code === 'EACCES'
      if (isMissing && attempt < MaxOpenAttempts) continue
      if (code !== 'EACCES') throw error
      const text = `${directory} cannot be used by this user: all processes that share it must run as the same user`
      throw Object.assign(new Error(text, { cause: error }), { code })
    }
  }
}

const releaseNothing: Release = async () => {}

const isBusy = (error: unknown): boolean => error instanceof BitsError && error.code === 'session-busy'

function ignoreBusy(error: unknown): undefined {
  if (!isBusy(error)) throw error
}

/** The result of an attempt: acquired, held by the process with this tag, or held by the creator. */
type Attempt = Release | { readonly holder: string } | 'held'

/** As the process that created the session: it needs no lock file, but no other process may have one. */
async function tryAsCreator(server: LockServer, key: string): Promise<Attempt> {
  const { files, tag } = server
  for (;;) {
    const holder = await files.holder(key)
    if (holder === undefined) return releaseNothing
    if (holder !== tag && (await server.isRunning(holder))) return { holder }
    await files.remove(key, holder)
  }
}

/** As another process: by a lock file, which is created while the lock is on loan from the creator. */
async function tryWithLoan(
  server: LockServer,
  creator: string | undefined,
  key: string,
  request: LockRequest | undefined,
): Promise<Attempt> {
  const [type, limits] = request
    ? (['borrow', request] as const)
    : (['try', { timeout: AnswerTimeoutMs }] as const)
  const loan = creator === undefined ? undefined : await server.ask(creator, type, key, limits)
  try {
    if (loan && !loan.isFree) return 'held'
    return await tryLockFile(server, key, request ?? {})
  } finally {
    // If a lock file was created, it shows other processes who holds the lock.
    loan?.end()
  }
}

async function tryLockFile(server: LockServer, key: string, request: LockRequest): Promise<Attempt> {
  const { files, tag } = server
  for (;;) {
    const holder = await files.holder(key)
    if (holder !== undefined && holder !== tag && (await server.isRunning(holder))) return { holder }
    // Its own file is one that it could not remove.
    const isAcquired =
      holder === tag || (holder === undefined ? await files.create(key) : await files.replace(key, holder))
    if (!isAcquired) continue
    const released = server.addFileLock(key, request)
    return async () => {
      try {
        await files.remove(key)
      } finally {
        released()
      }
    }
  }
}

/** Waits for the holders of a lock file. */
class HolderWait {
  readonly #server: LockServer
  readonly #key: string
  readonly #request: LockRequest | undefined
  #holder: string | undefined
  #since = 0

  constructor(server: LockServer, key: string, request: LockRequest | undefined) {
    this.#server = server
    this.#key = key
    this.#request = request
  }

  /** Resolves when a holder has released the lock, or has exited. */
  async untilReleased(holder: string): Promise<void> {
    const { signal, timeout = 0 } = this.#request ?? {}
    signal?.throwIfAborted()
    if (holder === this.#holder) {
      // It answered that it has released the lock, and could not remove its file.
      if (timeout > 0 && performance.now() - this.#since > timeout) throw new BitsError('session-busy')
      await delay(RetryDelayMs)
    } else {
      this.#holder = holder
      this.#since = performance.now()
    }
    const startedAt = performance.now()
    const answer = await this.#server.ask(holder, 'wait', this.#key, { signal, timeout })
    answer?.end()
    // It held the lock until now.
    if (performance.now() - startedAt > RetryDelayMs) this.#since = performance.now()
  }
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

import { mkdir, rmdir } from 'node:fs/promises'
import { HolderWait, isBusy, type Release, releaseNothing, tryAsCreator, tryWithLoan } from './attempt.ts'
import { LocalLocks } from './local-locks.ts'
import type { LockDirectory } from './lock-directory.ts'
import { ignoring, systemCode } from './lock-files.ts'
import { callOnce, type Lock, type Locker, type LockRequest, parseLockKey } from './locker.ts'

/** Attempts to open a directory that another process removes when it closes its locker. */
const MaxOpenAttempts = 5

export interface ProcessLocker extends Locker {
  /**
   * Stops taking part in the locks of the directory, and removes the directory if it is empty. No lock may be held, and
   * no request may wait.
   */
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

  /** Opens the directory again if it was removed. */
  const acquireOrReopen = async (
    key: string,
    request: LockRequest | undefined,
  ): Promise<Release | undefined> => {
    const used = opening
    try {
      return await acquireShared(key, request)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || used === undefined) throw error
      if (opening === used) await close()
      return acquireShared(key, request)
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
        const release = (await acquireOrReopen(key, request)) as Release
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
        release = await acquireOrReopen(key, undefined).catch(ignoreBusy)
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
  // Not loaded at the start of the process, like other code that only the first lock needs.
  const lockDirectory = await import('./lock-directory.ts')
  for (let attempt = 1; ; attempt++) {
    try {
      await createDirectory()
      return await lockDirectory.LockDirectory.open(directory, local)
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

function ignoreBusy(error: unknown): undefined {
  if (!isBusy(error)) throw error
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

import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isFreeAtCreator, LockServer } from './lock-server.ts'
import { callOnce, type Lock, type Locker, type LockRequest, parseLockKey } from './locker.ts'
import { memoryLocker } from './memory.ts'
import { addressOf, listenAsLock, type SocketLock, waitForRelease } from './socket-lock.ts'

/**
 * A locker for the processes of one machine that share a directory. A process holds a lock by listening at an address that
 * is made of the directory and the lock key: the kernel gives an address to one process at a time, and frees it when that
 * process exits. Another process connects to the address, which requests the release, and waits until the connection
 * ends. So no lock outlives its process, there is no lock file to clean up, and no wait for a timeout.
 *
 * Locks of new sessions are held by the {@link LockServer} of their process until they are released for the first time;
 * so a process that holds the address of a session also asks that server.
 *
 * On Linux the addresses are visible to processes of one network namespace.
 *
 * @param directory need not exist yet
 */
export function processLocker(directory: string): Locker {
  const local = memoryLocker()
  let realDirectory: string | undefined
  let opening: Promise<LockServer | undefined> | undefined

  const addressFor = async (key: string): Promise<string> => {
    realDirectory ??= await realpath(directory).catch(() => undefined)
    const text = JSON.stringify([realDirectory ?? resolve(directory), key])
    return addressOf(createHash('sha256').update(text).digest('hex').slice(0, 32))
  }

  /** The lock server of this process; undefined if none can be opened: new sessions then have addresses of their own. */
  const openServer = (): Promise<LockServer | undefined> => {
    const reopen = (server?: LockServer) =>
      server?.isOpen ? server : LockServer.open().catch(() => undefined)
    opening = opening ? opening.then(reopen) : Promise.resolve(reopen())
    return opening
  }

  /** Whether the lock is free at the lock server of the session's creator; if not, releases the address. */
  const confirm = async (
    key: string,
    held: SocketLock,
    request: LockRequest | undefined,
  ): Promise<boolean> => {
    let isFree = false
    try {
      // The lock server of this process does not hold it, because this request has the local lock.
      const server = await opening
      const isOwn = server?.isOpen === true && server.prefix === parseLockKey(key)?.prefix
      isFree = isOwn || (await isFreeAtCreator(key, request))
      return isFree
    } finally {
      if (!isFree) held.release()
    }
  }

  /**
   * Adds to a local lock the lock among processes.
   * @param request of an `acquire`, which waits; undefined: does not wait
   */
  const acquireSocket = async (
    key: string,
    request: LockRequest | undefined,
  ): Promise<SocketLock | undefined> => {
    const address = await addressFor(key)
    for (;;) {
      const held = await listenAsLock(address)
      if (held && (request?.isNew || (await confirm(key, held, request)))) return held
      if (!request) return undefined
      await waitForRelease(address, request.signal)
    }
  }

  /** The lock of a new session at the lock server, if its id begins with the server's prefix. */
  const addToServer = async (key: string): Promise<SocketLock | undefined> => {
    const { id = '', prefix } = parseLockKey(key) ?? {}
    const server = await opening
    return server?.prefix === prefix ? server?.add(id, key) : undefined
  }

  return {
    isRetainable: true,

    async idPrefix() {
      return (await openServer())?.prefix
    },

    async acquire(key, lockRequest = {}) {
      const request = new OnceRequest(lockRequest)
      const lock = await local.acquire(key, request)
      try {
        const socketLock = (request.isNew && (await addToServer(key))) || (await acquireSocket(key, request))
        return new ProcessLock(lock, socketLock as SocketLock, request)
      } catch (error) {
        await lock.release()
        throw error
      }
    },

    async tryAcquire(key) {
      const lock = local.tryAcquireSync(key)
      if (!lock) return undefined
      let socketLock: SocketLock | undefined
      try {
        socketLock = await acquireSocket(key, undefined)
      } finally {
        if (!socketLock) await lock.release()
      }
      return socketLock && new ProcessLock(lock, socketLock, {})
    },
  }
}

/** A request whose `onReleaseRequested` is called once, by this process or another one. */
class OnceRequest implements LockRequest {
  readonly #request: LockRequest
  readonly isNew: boolean
  readonly onReleaseRequested: () => void

  constructor(request: LockRequest) {
    this.#request = request
    this.isNew = request.isNew === true
    this.onReleaseRequested = callOnce(() => request.onReleaseRequested?.())
  }

  /** Read only by a request that waits, because it may be created then. */
  get signal(): AbortSignal | undefined {
    return this.#request.signal
  }
}

class ProcessLock implements Lock {
  readonly #local: Lock
  #socketLock: SocketLock | undefined

  constructor(local: Lock, socketLock: SocketLock, request: LockRequest) {
    this.#local = local
    this.#socketLock = socketLock
    socketLock.holder = request
    // Another process may have connected before the request was set.
    if (socketLock.isRequested) request.onReleaseRequested?.()
  }

  release(): Promise<void> {
    this.#socketLock?.release()
    this.#socketLock = undefined
    return this.#local.release()
  }
}

import { createHash } from 'node:crypto'
import { realpath, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Leaving, Lock, Locker, LockRequest } from './locker.ts'
import { type MemoryLock, memoryLocker } from './memory.ts'
import { once } from './once.ts'

/**
 * A locker for the processes of one machine that share a directory. To hold a session is to listen at an address that is
 * made of the directory's name and the session's: the kernel gives it to one process at a time, takes it back when that
 * process dies, and whoever finds it taken connects, which tells the holder that it is wanted, and waits until the
 * connection ends. So there is no lock that outlives its process, no file to clear away, and no waiting for time to pass.
 *
 * On Linux the address is an abstract one, and so holds among processes of one network namespace.
 *
 * @param directory need not exist yet
 */
export function processLocker(directory: string): Locker {
  const local = memoryLocker()
  let real: string | undefined

  const addressOf = async (name: string): Promise<string> => {
    real ??= await realpath(directory).catch(() => undefined)
    const hash = createHash('sha256').update(JSON.stringify([real ?? resolve(directory), name]))
    const label = `express-bits-upload-${hash.digest('hex').slice(0, 32)}`
    if (process.platform === 'linux') return `\0${label}`
    return process.platform === 'win32' ? `\\\\.\\pipe\\${label}` : join(tmpdir(), label)
  }

  /** Adds to a local lock that of all processes; undefined if another process has it, and there is to be no waiting. */
  const hold = async (
    name: string,
    lock: MemoryLock,
    wait: boolean,
    request: LockRequest,
  ): Promise<Lock | undefined> => {
    try {
      if (lock.left) return lockOf(name, lock, lock.left as Kept, request)
      const address = await addressOf(name)
      for (;;) {
        const holding = await listen(address)
        if (holding) return lockOf(name, lock, new Kept(holding), request)
        if (!wait) break
        await waitFor(address, request.signal)
      }
    } catch (error) {
      await lock.release()
      throw error
    }
    await lock.release()
    return undefined
  }

  const lockOf = (name: string, lock: MemoryLock, kept: Kept, { onWanted }: LockRequest): Lock => {
    const { holding } = kept
    let isOver = false
    const release = async (): Promise<void> => {
      if (isOver) return
      isOver = true
      kept.drop()
      await lock.release()
    }
    holding.onWanted = onWanted
    // Somebody may have come between two holders.
    if (holding.isWanted) onWanted?.()
    return {
      left: kept.leaving,
      release,
      leave(leaving) {
        if (isOver) return
        kept.keep(leaving)
        if (holding.isWanted) return void release()
        isOver = true
        holding.onWanted = () => local.forget(name)
        lock.leave(kept)
      },
    }
  }

  return {
    async acquire(name, request = {}) {
      const asked = new Asked(request)
      const lock = await local.acquire(name, asked)
      return (await hold(name, lock, true, asked)) ?? lock
    },

    async tryAcquire(name) {
      const lock = await local.tryAcquire(name)
      return lock && hold(name, lock, false, {})
    },

    letGo: () => local.letGo(),
  }
}

/** An address that is listened to between two holders of this process, so that the second need not listen anew. */
class Kept implements Leaving {
  readonly holding: Holding
  leaving: Leaving | undefined

  constructor(holding: Holding) {
    this.holding = holding
  }

  keep(leaving: Leaving): void {
    if (leaving !== this.leaving) this.leaving?.drop()
    this.leaving = leaving
  }

  drop(): void {
    const { leaving } = this
    this.leaving = undefined
    leaving?.drop()
    this.holding.release()
  }
}

/** A request whose holder is told once, whoever it is that wants the session. */
class Asked implements LockRequest {
  readonly onWanted: () => void
  readonly #request: LockRequest

  constructor(request: LockRequest) {
    this.#request = request
    this.onWanted = once(request.onWanted)
  }

  /** Only who waits looks at it: it may be made when it is asked for. */
  get signal(): AbortSignal | undefined {
    return this.#request.signal
  }
}

/** An address that is listened to. */
class Holding {
  /** Called when another process comes for it. */
  onWanted: (() => void) | undefined
  readonly server: Server
  readonly #waiting = new Set<Socket>()

  constructor() {
    this.server = createServer((socket) => {
      this.#waiting.add(socket.unref())
      socket.on('error', () => socket.destroy()).on('close', () => this.#waiting.delete(socket))
      this.onWanted?.()
    })
  }

  /** Whether another process waits. */
  get isWanted(): boolean {
    return this.#waiting.size > 0
  }

  release(): void {
    this.server.close()
    for (const socket of this.#waiting) socket.destroy()
  }
}

/** Listens at an address until released; undefined if somebody else does. */
function listen(address: string): Promise<Holding | undefined> {
  const holding = new Holding()
  const { server } = holding
  return new Promise((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    // Exclusive: else the workers of a cluster would share what they listen to.
    server.listen({ path: address, exclusive: true }, () => resolve(holding))
    server.unref()
  })
}

/** Tells the holder of an address that it is wanted, and waits until it lets go, or dies. */
function waitFor(address: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    const giveUp = (): void => {
      reject(signal?.reason)
      socket.destroy()
    }
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Where an address is a file, that of a dead process is left.
      if (error.code === 'ECONNREFUSED' && !/^[\0\\]/.test(address)) unlink(address).catch(() => {})
    })
    socket.on('close', () => {
      signal?.removeEventListener('abort', giveUp)
      resolve()
    })
    socket.resume()
    if (signal?.aborted) giveUp()
    else signal?.addEventListener('abort', giveUp, { once: true })
  })
}

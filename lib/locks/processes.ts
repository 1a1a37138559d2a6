import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Leaving, type Lock, type Locker, type LockRequest, parseLockKey } from './locker.ts'
import { type MemoryLock, type MemoryLocker, memoryLocker } from './memory.ts'
import { addressOf } from './processes/address.ts'
import { type Holding, listen, waitFor } from './processes/holding.ts'
import { Home, isFreeAtHome } from './processes/home.ts'

/**
 * A locker for the processes of one machine that share a directory. To hold a session is to listen at an address that is
 * made of the directory's name and the session's: the kernel gives it to one process at a time, takes it back when that
 * process dies, and whoever finds it taken connects, which tells the holder that it is wanted, and waits until the
 * connection ends. So there is no lock that outlives its process, no file to clear away, and no waiting for time to pass.
 *
 * A session that begins here is held at home as long as it is not let go, which needs no address of its own; so who has
 * a session's address asks there, too: see {@link Home}.
 *
 * On Linux the addresses hold among processes of one network namespace.
 *
 * @param directory need not exist yet
 */
export function processLocker(directory: string): Locker {
  const local = memoryLocker()
  let real: string | undefined
  let home: Promise<Home | undefined> | undefined

  const addressFor = async (name: string): Promise<string> => {
    real ??= await realpath(directory).catch(() => undefined)
    const hash = createHash('sha256').update(JSON.stringify([real ?? resolve(directory), name]))
    return addressOf(hash.digest('hex').slice(0, 32))
  }

  /** Goes on with what this process kept of all processes' lock, if it did. */
  const goOn = (name: string, lock: MemoryLock, request: LockRequest): Lock | undefined =>
    lock.left && new ProcessLock(name, local, lock, lock.left as Kept, request)

  /** Adds to a local lock that of all processes; undefined if another process has it, and there is to be no waiting. */
  const hold = async (
    name: string,
    lock: MemoryLock,
    manner: Manner,
    request: LockRequest,
  ): Promise<Lock | undefined> => {
    try {
      const address = await addressFor(name)
      for (;;) {
        const holding = await listen(address)
        if (holding && (manner === 'begins' || (await isFree(name, holding, manner, request))))
          return new ProcessLock(name, local, lock, new Kept(holding), request)
        if (manner !== 'waits') break
        await waitFor(address, request.signal)
      }
    } catch (error) {
      await lock.release()
      throw error
    }
    await lock.release()
    return undefined
  }

  /** Whether nobody has the session at home; lets go of its address if somebody has, or it cannot be known. */
  const isFree = async (
    name: string,
    holding: Holding,
    manner: Manner,
    request: LockRequest,
  ): Promise<boolean> => {
    let free = false
    try {
      // Nobody of this process has it, for then we had not got its local lock.
      const isOurs = (await home)?.mark === parseLockKey(name)?.mark
      free = isOurs || (await isFreeAtHome(name, manner === 'waits' ? request : undefined))
      return free
    } finally {
      if (!free) holding.release()
    }
  }

  /** Without one, sessions have addresses of their own from the beginning. */
  const atHome = (): Promise<Home | undefined> => {
    if (home) return home
    const opening = Home.open().catch(() => {
      // Not one that was opened since.
      if (home === opening) home = undefined
      return undefined
    })
    home = opening
    return opening
  }

  return {
    async mark() {
      return (await atHome())?.mark
    },

    async begin(name) {
      const lock = local.tryAcquireSync(name) ?? (await local.acquire(name))
      const { id = '', mark } = parseLockKey(name) ?? {}
      const here = await home
      const holding = here?.mark === mark ? here?.hold(id, name) : undefined
      if (holding) return new ProcessLock(name, local, lock, new Kept(holding), {})
      return hold(name, lock, 'begins', {})
    },

    async acquire(name, request = {}) {
      const asked = new Asked(request)
      const lock = local.tryAcquireSync(name, asked) ?? (await local.acquire(name, asked))
      return goOn(name, lock, asked) ?? (await hold(name, lock, 'waits', asked)) ?? lock
    },

    async tryAcquire(name) {
      const lock = local.tryAcquireSync(name)
      return lock && (goOn(name, lock, {}) ?? hold(name, lock, 'tries', {}))
    },

    letGo() {
      local.letGo()
      void home?.then((here) => here?.close())
      home = undefined
    },
  }
}

/** How a lock is asked for. */
type Manner = 'waits' | 'tries' | 'begins'

class ProcessLock implements Lock {
  readonly left: Leaving | undefined
  readonly #name: string
  readonly #local: MemoryLocker
  readonly #lock: MemoryLock
  readonly #kept: Kept
  #isOver = false

  constructor(name: string, local: MemoryLocker, lock: MemoryLock, kept: Kept, request: LockRequest) {
    this.left = kept.leaving
    this.#name = name
    this.#local = local
    this.#lock = lock
    this.#kept = kept
    const { holding } = kept
    holding.holder = request
    // Somebody may have come between two holders.
    if (holding.isWanted) request.onReleaseRequested?.()
  }

  release(): Promise<void> {
    if (!this.#isOver) {
      this.#isOver = true
      this.#kept.drop()
    }
    return this.#lock.release()
  }

  leave(leaving: Leaving): void {
    if (this.#isOver) return
    const { holding } = this.#kept
    this.#kept.keep(leaving)
    if (holding.isWanted) return void this.release()
    this.#isOver = true
    holding.holder = this
    this.#lock.leave(this.#kept)
  }

  /** Of what was left with it. */
  onReleaseRequested(): void {
    this.#local.forget(this.#name)
  }
}

/** A session that is kept between two holders of this process, so that the second need not take it anew. */
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
  readonly #request: LockRequest
  #isTold = false

  constructor(request: LockRequest) {
    this.#request = request
  }

  onReleaseRequested(): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#request.onReleaseRequested?.()
  }

  /** Only who waits looks at it: it may be made when it is asked for. */
  get signal(): AbortSignal | undefined {
    return this.#request.signal
  }
}

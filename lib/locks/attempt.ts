import { setTimeout as delay } from 'node:timers/promises'
import { BitsError } from '../protocol/errors.ts'
import type { LockServer } from './lock-server.ts'
import type { LockRequest } from './locker.ts'
import { RetryDelayMs } from './query.ts'

/** Milliseconds without an answer after which a lock counts as held, for a request that does not wait. */
const AnswerTimeoutMs = 1000

/** Releases a lock among processes. */
export type Release = () => Promise<void>

export const releaseNothing: Release = async () => {}

export const isBusy = (error: unknown): boolean => error instanceof BitsError && error.code === 'session-busy'

/** The result of an attempt: acquired, held by the process with this tag, or held by the creator. */
export type Attempt = Release | { readonly holder: string } | 'held'

/** As the process that created the session: it needs no lock file, but no other process may have one. */
export async function tryAsCreator(server: LockServer, key: string): Promise<Attempt> {
  const { files, tag } = server
  for (;;) {
    const holder = await files.holder(key)
    if (holder === undefined) return releaseNothing
    if (holder !== tag && (await server.isRunning(holder))) return { holder }
    await files.remove(key, holder)
  }
}

/** As another process: by a lock file, which is created while the lock is on loan from the creator. */
export async function tryWithLoan(
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
export class HolderWait {
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

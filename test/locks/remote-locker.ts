/** Lockers in other processes and threads, which tests start, command and kill. */
import { spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { onTestFinished, vi } from 'vitest'
import { lockKey } from '../../lib/locks/locker.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { withResolvers } from '../support/promise.ts'

/** A request to `locker-program.mjs`. */
export interface RemoteRequest {
  readonly id: number
  readonly method: 'idPrefix' | 'acquire' | 'tryAcquire' | 'release' | 'descriptors'
  readonly key?: string
  readonly isNew?: boolean
  /** The id of the request that acquired the lock to release. */
  readonly lock?: number
}

/** What `locker-program.mjs` sends: `ready` first, then an answer or failure of each request,
 * and `requested` for `onReleaseRequested`. */
export type RemoteMessage =
  | { readonly id: number; readonly event: 'answered'; readonly value: unknown }
  | {
      readonly id: number
      readonly event: 'failed'
      readonly message: string
      readonly code?: string | undefined
    }
  | { readonly id: number; readonly event: 'requested' }
  | { readonly event: 'ready' }

/** A process or thread that runs `locker-program.mjs`. */
interface Host {
  /** The id of the process, or of the command that runs it. */
  readonly pid: number | undefined
  send(request: RemoteRequest): void
  onMessage(listener: (message: RemoteMessage) => void): void
  /** Calls back when it has ended. */
  onEnded(listener: () => void): void
  /** Ends it at an arbitrary instruction. */
  kill(): Promise<unknown>
}

/** Starts the locker of a file store in a directory. */
export type Start = (directory: string) => RemoteLocker

const program = fileURLToPath(new URL('locker-program.mjs', import.meta.url))

/**
 * Starts child processes.
 * @param command a program and arguments to which the command of the process is appended, for example to run it in a namespace
 */
export const inProcess =
  (...command: string[]): Start =>
  (directory) => {
    const [file = '', ...args] = [...command, process.execPath, program, directory]
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const exited = once(child, 'exit')
    return new RemoteLocker({
      pid: child.pid,
      send: (request) => void child.send(request),
      onMessage: (listener) => void child.on('message', listener),
      onEnded: (listener) => void child.on('exit', listener),
      kill() {
        child.kill('SIGKILL')
        return exited
      },
    })
  }

/** Starts workers of a cluster, whose primary is this process. */
export const inClusterWorker: Start = (directory) => {
  cluster.setupPrimary({ exec: program, args: [directory], execArgv: [] })
  const worker = cluster.fork()
  const exited = once(worker, 'exit')
  return new RemoteLocker({
    pid: worker.process.pid,
    send: (request) => void worker.send(request),
    onMessage: (listener) => void worker.on('message', listener),
    onEnded: (listener) => void worker.on('exit', listener),
    kill() {
      worker.process.kill('SIGKILL')
      return exited
    },
  })
}

/** Starts threads of this process. They cannot get a signal: `kill` terminates them. */
export const inThread: Start = (directory) => {
  const worker = new Worker(program, { argv: [directory], execArgv: [] })
  return new RemoteLocker({
    pid: process.pid,
    send: (request) => worker.postMessage(request),
    onMessage: (listener) => void worker.on('message', listener),
    onEnded: (listener) => void worker.on('exit', listener),
    kill: () => worker.terminate(),
  })
}

/** A locker in another process or thread, which is killed after the test. */
export class RemoteLocker {
  readonly #host: Host
  readonly #pending = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >()
  /** The requests for which `onReleaseRequested` was called, as often as it was called. */
  readonly #requested: number[] = []
  readonly #ready = withResolvers<void>()
  #requests = 0

  constructor(host: Host) {
    this.#host = host
    host.onMessage((message) => {
      if (message.event === 'ready') return this.#ready.resolve()
      if (message.event === 'requested') return void this.#requested.push(message.id)
      const pending = this.#pending.get(message.id)
      this.#pending.delete(message.id)
      if (message.event === 'answered') pending?.resolve(message.value)
      else pending?.reject(Object.assign(new Error(message.message), { code: message.code }))
    })
    host.onEnded(() => {
      for (const { reject } of this.#pending.values()) reject(new Error('The locker has ended'))
      this.#pending.clear()
    })
    onTestFinished(async () => void (await host.kill()))
  }

  get pid(): number | undefined {
    return this.#host.pid
  }

  async idPrefix(): Promise<string | undefined> {
    return (await this.#call({ method: 'idPrefix' }).answer) as string | undefined
  }

  /** The lock key of a new session of this process. */
  async newKey(): Promise<string> {
    return lockKey({ id: newGuid(await this.idPrefix()), path: '/upload/a.bin' })
  }

  /** Acquires the lock of a new session of this process. */
  async create(): Promise<RemoteLock> {
    return this.acquire(await this.newKey(), true)
  }

  async acquire(key: string, isNew = false): Promise<RemoteLock> {
    const { id, answer } = this.#call({ method: 'acquire', key, isNew })
    return this.#lockOf(id, key, await answer) as RemoteLock
  }

  async tryAcquire(key: string): Promise<RemoteLock | undefined> {
    const { id, answer } = this.#call({ method: 'tryAcquire', key })
    return this.#lockOf(id, key, await answer)
  }

  /** The number of descriptors that the process has open. */
  async descriptors(): Promise<number> {
    return (await this.#call({ method: 'descriptors' }).answer) as number
  }

  /** Resolves when it has ended. */
  async kill(): Promise<void> {
    await this.#host.kill()
  }

  #lockOf(id: number, key: string, answer: unknown): RemoteLock | undefined {
    if (answer === undefined) return undefined
    return {
      key,
      acquiredAt: BigInt(answer as string),
      requests: () => this.#requested.filter((each) => each === id).length,
      requested: () => vi.waitUntil(() => this.#requested.includes(id), { timeout: 20_000 }),
      release: async () => BigInt((await this.#call({ method: 'release', lock: id }).answer) as string),
    }
  }

  #call(request: Omit<RemoteRequest, 'id'>): { readonly id: number; readonly answer: Promise<unknown> } {
    this.#requests += 1
    const id = this.#requests
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }))
    // Some answers are awaited later than the locker may end.
    answer.catch(() => {})
    void this.#ready.promise.then(() => this.#host.send({ id, ...request }))
    return { id, answer }
  }
}

/** A lock that a {@link RemoteLocker} holds. Times are those of the monotonic clock of the machine. */
export interface RemoteLock {
  readonly key: string
  readonly acquiredAt: bigint
  /** How often `onReleaseRequested` was called. */
  requests(): number
  /** Resolves when `onReleaseRequested` was called. */
  requested(): Promise<unknown>
  /** Releases the lock. Resolves to the time at which the release began. */
  release(): Promise<bigint>
}

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { type Container, endProcess } from '../support/container.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { waitUntil } from './fixture.ts'

const program = fileURLToPath(new URL('server-program.mjs', import.meta.url))

export interface ServerOptions {
  /** The container in which the server runs, with the directory. Default: none. */
  readonly container?: Container | undefined
  /** The option `lockTimeout`, in milliseconds. */
  readonly lockTimeout?: number
}

/** A container in which a server runs, and a directory that both sides see, for the socket at which it gets packets. */
interface Place {
  readonly container: Container
  readonly sockets: string
}

/**
 * A server that is killed and restarted on the same port. The next process is started in advance and waits
 * before it listens, so that the kills hit a working server and not one that loads its modules.
 *
 * In a container it listens on a socket file, because its loopback interface is not that of the test.
 */
export class RestartingServer {
  /** The arguments of its program. */
  readonly #args: readonly string[]
  readonly #place: Place | undefined
  #port = 0
  #socketPath: string | undefined
  #starts = 0
  #process: ChildProcess
  #nextProcess: ChildProcess

  private constructor(args: readonly string[], place: Place | undefined) {
    this.#args = args
    this.#place = place
    this.#process = this.#fork()
    this.#nextProcess = this.#fork()
  }

  static async start(
    directory: string,
    { container, lockTimeout }: ServerOptions = {},
  ): Promise<RestartingServer> {
    const place = container && { container, sockets: await temporaryDirectory() }
    const options = lockTimeout === undefined ? [] : [String(lockTimeout)]
    const server = new RestartingServer([container?.directory ?? directory, ...options], place)
    onTestFinished(() => server.#end())
    await server.#listen()
    return server
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}/`)
  }

  /** The socket file at which it listens instead of the port. */
  get socketPath(): string | undefined {
    return this.#socketPath
  }

  /** Kills the process, and resolves when it has exited. */
  kill(): Promise<void> {
    return this.#kill(this.#process)
  }

  /** Stops all threads of the process with SIGSTOP, and resolves when they have stopped. For Linux, without container. */
  async pause(): Promise<void> {
    const { pid } = this.#process
    this.#process.kill('SIGSTOP')
    const tasks = `/proc/${pid}/task`
    const isStopped = (id: string): boolean => /\) T /.test(readFileSync(`${tasks}/${id}/stat`, 'latin1'))
    await waitUntil(() => readdirSync(tasks).every(isStopped))
  }

  /** Continues the process after {@link pause}. */
  resume(): void {
    this.#process.kill('SIGCONT')
  }

  async restart(): Promise<void> {
    this.#process = this.#nextProcess
    this.#nextProcess = this.#fork()
    await this.#listen()
  }

  /** Resolves to the result of the sweep, or to the text of its error. */
  async sweep(): Promise<unknown> {
    const message = nextMessage(this.#process)
    this.#process.send('sweep', () => {})
    return ((await message) as { swept: unknown }).swept
  }

  async #listen(): Promise<void> {
    const child = this.#process
    await readyMessages.get(child)
    const message = nextMessage(child)
    this.#starts += 1
    this.#socketPath = this.#place && join(this.#place.sockets, String(this.#starts))
    child.send(this.#socketPath ?? String(this.#port), () => {})
    this.#port = ((await message) as { port: number }).port
  }

  #fork(): ChildProcess {
    const { container } = this.#place ?? {}
    const child = container
      ? container.spawn(process.execPath, [program, ...this.#args], ['ignore', 'inherit', 'inherit', 'ipc'])
      : fork(program, this.#args)
    readyMessages.set(child, nextMessage(child))
    return child
  }

  async #end(): Promise<void> {
    await Promise.all([this.#kill(this.#process), this.#kill(this.#nextProcess)])
  }

  #kill(child: ChildProcess): Promise<void> {
    return this.#place ? endProcess(child, 'SIGKILL') : kill(child)
  }
}

/** The first message of each process, which may arrive before the server is needed. */
const readyMessages = new WeakMap<ChildProcess, Promise<unknown>>()

/** Resolves to the next message of a process, and rejects if the process exits before. */
function nextMessage(child: ChildProcess): Promise<unknown> {
  const result = new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new Error(`The server exited unexpectedly: ${code ?? signal}`))
    child.once('exit', onExit).once('message', (message) => {
      child.off('exit', onExit)
      resolve(message)
    })
  })
  // The next process is killed at the end of the test, and then its promise rejects without a handler.
  result.catch(() => {})
  return result
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

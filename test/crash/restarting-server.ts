import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const program = fileURLToPath(new URL('server-program.mjs', import.meta.url))

/**
 * A server that is killed and restarted on the same port. The next process is started in advance and waits
 * before it listens, so that the kills hit a working server and not one that loads its modules.
 */
export class RestartingServer {
  readonly #directory: string
  #port = 0
  #process: ChildProcess
  #nextProcess: ChildProcess

  private constructor(directory: string) {
    this.#directory = directory
    this.#process = this.#fork()
    this.#nextProcess = this.#fork()
  }

  static async start(directory: string): Promise<RestartingServer> {
    const server = new RestartingServer(directory)
    onTestFinished(() => server.#end())
    await server.#listen()
    return server
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}/`)
  }

  /** Kills the process, and resolves when it has exited. */
  kill(): Promise<void> {
    return kill(this.#process)
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
    child.send(String(this.#port), () => {})
    this.#port = ((await message) as { port: number }).port
  }

  #fork(): ChildProcess {
    const child = fork(program, [this.#directory])
    readyMessages.set(child, nextMessage(child))
    return child
  }

  async #end(): Promise<void> {
    await Promise.all([kill(this.#process), kill(this.#nextProcess)])
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

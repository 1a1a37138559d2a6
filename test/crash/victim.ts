import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const program = fileURLToPath(new URL('server-program.mjs', import.meta.url))

/**
 * A server that is killed and comes back on the same port. The next process is started ahead, up to where it would
 * listen: what is to be killed is a server at work, not one that loads its modules.
 */
export class Victim {
  readonly #directory: string
  #port = 0
  #process: ChildProcess
  #spare: ChildProcess

  private constructor(directory: string) {
    this.#directory = directory
    this.#process = this.#fork()
    this.#spare = this.#fork()
  }

  static async start(directory: string): Promise<Victim> {
    const victim = new Victim(directory)
    onTestFinished(() => victim.#end())
    await victim.#listen()
    return victim
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}/`)
  }

  /** Ends it at whatever instruction it is; resolves when it is gone. */
  kill(): Promise<void> {
    return end(this.#process)
  }

  async restart(): Promise<void> {
    this.#process = this.#spare
    this.#spare = this.#fork()
    await this.#listen()
  }

  /** Resolves to what the sweep found, or to the text of the error with which it failed. */
  async sweep(): Promise<unknown> {
    const swept = reply(this.#process)
    this.#process.send('sweep', () => {})
    return ((await swept) as { swept: unknown }).swept
  }

  async #listen(): Promise<void> {
    const child = this.#process
    await ready.get(child)
    const listening = reply(child)
    child.send(String(this.#port), () => {})
    this.#port = ((await listening) as { port: number }).port
  }

  #fork(): ChildProcess {
    const child = fork(program, [this.#directory])
    ready.set(child, reply(child))
    return child
  }

  async #end(): Promise<void> {
    await Promise.all([end(this.#process), end(this.#spare)])
  }
}

/** What a process said first: it may have said so before somebody asks. */
const ready = new WeakMap<ChildProcess, Promise<unknown>>()

/** The next message of a process; an error if it ends without one. */
function reply(child: ChildProcess): Promise<unknown> {
  const result = new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new Error(`The server ended by itself: ${code ?? signal}`))
    child.once('exit', onExit).once('message', (message) => {
      child.off('exit', onExit)
      resolve(message)
    })
  })
  // A spare that is ended with the test is waited for by nobody.
  result.catch(() => {})
  return result
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

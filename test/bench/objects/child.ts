import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A program of this folder in a process of its own that handles one request at a time. */
export class Child {
  readonly #process: ChildProcess

  constructor(name: string, env: NodeJS.ProcessEnv = {}) {
    const program = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
    this.#process = fork(program, { env: { ...process.env, ...env } })
  }

  async request<Result>(message: unknown): Promise<Result> {
    const exit = once(this.#process, 'exit').then(() => {
      throw new Error(`${this.#process.spawnargs.at(-1)} ended`)
    })
    const response = once(this.#process, 'message')
    this.#process.send(message as object)
    const [{ error, value }] = await Promise.race([response, exit])
    if (error) throw new Error(error)
    return value
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exit
  }
}

/** Handles the requests from the parent process, and exits when the parent does. */
export function handleRequests<Message>(handle: (message: Message) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit())
  process.on('message', async (message) => {
    try {
      process.send?.({ value: await handle(message as Message) })
    } catch (error) {
      process.send?.({ error: String(error) })
    }
  })
}

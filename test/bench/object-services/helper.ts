import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { start } from '../process.ts'

/** A program of this directory, on the core of the load client. Its first message says that it is ready. */
export class Helper {
  readonly #child: ReturnType<typeof start>
  readonly #exit: Promise<never>
  /** The first message. */
  ready: unknown

  private constructor(program: string, args: readonly (string | number)[]) {
    const path = fileURLToPath(new URL(`./${program}.ts`, import.meta.url))
    this.#child = start(1, [process.execPath, ...process.execArgv, path, ...args.map(String)])
    this.#exit = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`The program ${program} ended with ${code}`)
    })
    this.#exit.catch(() => {})
  }

  static async start(program: string, ...args: (string | number)[]): Promise<Helper> {
    const helper = new Helper(program, args)
    helper.ready = await helper.#message()
    return helper
  }

  /** Sends a message, and resolves to the next message of the program. */
  request(message: string): Promise<unknown> {
    this.#child.send(message)
    return this.#message()
  }

  /** Closes the channel, on which the program removes its files and exits. */
  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    await this.#exit.catch(() => {})
  }

  async #message(): Promise<unknown> {
    const [message] = await Promise.race([once(this.#child, 'message'), this.#exit])
    return message
  }
}

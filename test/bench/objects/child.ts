import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A program of this folder in a process of its own, which answers questions, one at a time. */
export class Child {
  readonly #process: ChildProcess

  constructor(name: string, env: NodeJS.ProcessEnv = {}) {
    const program = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
    this.#process = fork(program, { env: { ...process.env, ...env } })
  }

  async ask<Answer>(question: unknown): Promise<Answer> {
    const gone = once(this.#process, 'exit').then(() => {
      throw new Error(`${this.#process.spawnargs.at(-1)} ended`)
    })
    const answer = once(this.#process, 'message')
    this.#process.send(question as object)
    const [{ error, value }] = await Promise.race([answer, gone])
    if (error) throw new Error(error)
    return value
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
  }
}

/** What a program does that answers questions. It ends with whoever asks. */
export function answer<Question>(work: (question: Question) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit())
  process.on('message', async (question) => {
    try {
      process.send?.({ value: await work(question as Question) })
    } catch (error) {
      process.send?.({ error: String(error) })
    }
  })
}

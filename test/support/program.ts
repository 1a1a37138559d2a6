import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter, dirname } from 'node:path'
import { onTestFinished } from 'vitest'

export interface ProgramOptions {
  readonly cwd: string
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** The environment of programs: any free port, and the Node that runs the tests as `node`. */
export const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PORT: '0',
  PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`,
})

/** A program in a process of its own, which ends with the test at the latest. */
export class Program {
  /** All that it has printed so far. */
  output = ''
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #hasEnded = false
  /** Called whenever there is more output, and at the end. */
  readonly #listeners = new Set<() => void>()

  /** @param command a program and its first arguments */
  constructor(
    command: readonly [string, ...string[]],
    { cwd, args = [], env = environment() }: ProgramOptions,
  ) {
    const [file, ...first] = command
    this.#child = spawn(file, [...first, ...args], {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        this.#tell()
      })
    }
    // 'close' comes after the last output, 'exit' may come before.
    this.#ended = once(this.#child, 'close').finally(() => {
      this.#hasEnded = true
      this.#tell()
    })
    onTestFinished(async () => {
      this.#child.kill('SIGKILL')
      await this.#ended
    })
  }

  /** Resolves when the output matches; rejects when the program ends, and it never did. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.output)
        if (!match && !this.#hasEnded) return
        this.#listeners.delete(look)
        if (match) resolve(match)
        else reject(new Error(`The program ended and did not print ${pattern}, but:\n${this.output}`))
      }
      this.#listeners.add(look)
      look()
    })
  }

  /** The URL of the mount path that it prints, with a host that this machine surely has. */
  async url(): Promise<URL> {
    const [printed] = await this.says(/https?:\/\/\S+\/upload\//)
    const url = new URL(printed)
    url.hostname = '127.0.0.1'
    return url
  }

  /** Nobody reads what it prints from now on: to print more is an error. */
  stopReading(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy()
  }

  /** Resolves to the exit code when the program has come to its end by itself. */
  async ended(): Promise<number | null> {
    await this.#ended
    return this.#child.exitCode
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a signal; resolves to the exit code when the program has ended, null if the signal killed it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal)
    await this.#ended
    return this.#child.exitCode
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

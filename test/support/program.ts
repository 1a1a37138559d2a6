import { type ChildProcess, spawn } from 'node:child_process'
import { delimiter, dirname } from 'node:path'
import { onTestFinished } from 'vitest'
import { Output } from './output.ts'

export interface ProgramOptions {
  readonly cwd: string
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** The environment of programs: PORT=0 (any free port), and the Node that runs the tests as `node`. */
export const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PORT: '0',
  PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`,
})

/** A child process, which is killed after the test. */
export class Program {
  readonly #child: ChildProcess
  readonly #output: Output

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
    this.#output = new Output(this.#child)
    onTestFinished(async () => {
      this.#child.kill('SIGKILL')
      await this.#output.ended
    })
  }

  /** The output so far. */
  get output(): string {
    return this.#output.text
  }

  /** Resolves when the output matches. Rejects if the program ends without a match. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#output.says(pattern)
  }

  /** The URL of the mount path that the program prints, with the host 127.0.0.1, which every machine has. */
  async url(): Promise<URL> {
    const [printed] = await this.says(/https?:\/\/\S+\/upload\//)
    const url = new URL(printed)
    url.hostname = '127.0.0.1'
    return url
  }

  /** Closes the pipes of stdout and stderr: the program gets EPIPE when it prints. */
  stopReading(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy()
  }

  /** Waits until the program ends by itself; resolves to its exit code. */
  async ended(): Promise<number | null> {
    await this.#output.ended
    return this.#child.exitCode
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a signal; resolves to the exit code when the program has ended, null if the signal killed it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal)
    await this.#output.ended
    return this.#child.exitCode
  }
}

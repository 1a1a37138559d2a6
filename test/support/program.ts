import { type ChildProcess, spawn } from 'node:child_process'
import { delimiter, dirname } from 'node:path'
import { onTestFinished } from 'vitest'
import { Output } from './output.ts'

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

  /** All that it has printed so far. */
  get output(): string {
    return this.#output.text
  }

  /** Resolves when the output matches; rejects when the program ends, and it never did. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#output.says(pattern)
  }

  /** The URL of the mount path that it prints, with a host that this machine surely has. */
  async url(): Promise<URL> {
    const [printed] = await this.says(/https?:\/\/\S+\/upload\//)
    const url = new URL(printed)
    url.hostname = '127.0.0.1'
    return url
  }

  /** Closes the pipes of its output: from now on printing is an error for the program. */
  stopReading(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy()
  }

  /** Resolves to the exit code when the program has come to its end by itself. */
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

import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Output } from '../support/output.ts'

/** Characters of output that are kept for each process. */
const MaxOutput = 10_000

/** A service that all tests of a run share. */
export interface Service {
  /** The data that its clients need. Plain data, because it is sent to other processes. */
  readonly access: unknown
  /** Ends the service and removes its files. */
  end(): Promise<void>
}

/**
 * The processes of a service, and their directory. end(), or the exit of this process, kills and removes
 * them.
 */
export class Daemons {
  readonly directory = mkdtempSync(join(tmpdir(), 'bits-upload-'))
  readonly #children: ChildProcess[] = []
  readonly #outputs: Output[] = []
  #ending = false

  constructor() {
    process.on('exit', this.#clear)
  }

  /**
   * Adds a process and waits until it is ready.
   * @param child must also end when this process is killed, because then no exit handler runs
   * @param ready matches the output of the process when it is ready
   */
  async add(child: ChildProcess, ready: RegExp): Promise<RegExpExecArray> {
    const output = new Output(child, MaxOutput)
    this.#children.push(child)
    this.#outputs.push(output)
    const match = await output.says(ready)
    output.ended.then(() => {
      if (!this.#ending) console.error(`${child.spawnargs.join(' ')} ended by itself:\n${output.text}`)
    })
    return match
  }

  async end(): Promise<void> {
    this.#kill()
    await Promise.all(this.#outputs.map(({ ended }) => ended))
    process.off('exit', this.#clear)
    this.#clear()
  }

  #kill(): void {
    this.#ending = true
    for (const child of this.#children) child.kill('SIGKILL')
  }

  readonly #clear = (): void => {
    this.#kill()
    // A killed process may still create a file, so removing is retried.
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

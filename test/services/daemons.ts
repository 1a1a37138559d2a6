import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Output } from '../support/output.ts'

/** How much of what each prints is remembered, in characters. */
const remembered = 10_000

/** The processes of a service, and their files. They go when they are told to, or else when this process exits. */
export class Daemons {
  readonly directory = mkdtempSync(join(tmpdir(), 'bits-upload-'))
  readonly #children: ChildProcess[] = []
  readonly #outputs: Output[] = []
  #ending = false

  constructor() {
    process.on('exit', this.#clear)
  }

  /**
   * @param child one that ends even if this process is killed, and cannot see to it
   * @param ready what it prints when it can be used
   */
  async add(child: ChildProcess, ready: RegExp): Promise<RegExpExecArray> {
    const output = new Output(child, remembered)
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
    // A process that is being killed may still create a file.
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

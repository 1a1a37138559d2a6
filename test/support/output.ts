import type { ChildProcess } from 'node:child_process'

/** The output of a process: stdout and stderr together. */
export class Output {
  /** The output so far, or its last `maxLength` characters. */
  text = ''
  /** Resolves when the process has ended and all output was read. */
  readonly ended: Promise<void>
  #hasEnded = false
  /** Called for each piece of output, and at the end. */
  readonly #listeners = new Set<() => void>()

  /** @param maxLength characters to keep in `text`. Default: all. */
  constructor(child: ChildProcess, maxLength = Number.POSITIVE_INFINITY) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.text += text
        this.#notify()
        if (this.text.length > maxLength) this.text = this.text.slice(-maxLength)
      })
    }
    // The program does not exist, for example.
    child.on('error', (error) => {
      this.text += error
    })
    // 'close' is emitted after the last output, 'exit' possibly before it.
    this.ended = new Promise((resolve) => {
      child.once('close', () => {
        this.#hasEnded = true
        this.#notify()
        resolve()
      })
    })
  }

  /** Resolves when the output matches. Rejects if the process ends without a match. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const match = pattern.exec(this.text)
        if (!match && !this.#hasEnded) return
        this.#listeners.delete(check)
        if (match) resolve(match)
        else reject(new Error(`The program ended without printing ${pattern}. Output:\n${this.text}`))
      }
      this.#listeners.add(check)
      check()
    })
  }

  #notify(): void {
    for (const listener of this.#listeners) listener()
  }
}

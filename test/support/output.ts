import type { ChildProcess } from 'node:child_process'

/** What a process prints. */
export class Output {
  /** All of it so far, or the end of it. */
  text = ''
  /** Resolves after the last of it: when the process has ended. */
  readonly ended: Promise<void>
  #hasEnded = false
  /** Called whenever there is more, and at the end. */
  readonly #listeners = new Set<() => void>()

  /** @param kept how much of it is remembered, in characters; all of it unless told */
  constructor(child: ChildProcess, kept = Number.POSITIVE_INFINITY) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.text += text
        this.#tell()
        if (this.text.length > kept) this.text = this.text.slice(-kept)
      })
    }
    // There is no such program.
    child.on('error', (error) => {
      this.text += error
    })
    // 'close' comes after the last output, 'exit' may come before.
    this.ended = new Promise((resolve) => {
      child.once('close', () => {
        this.#hasEnded = true
        this.#tell()
        resolve()
      })
    })
  }

  /** Resolves when it matches; rejects when the process ends, and it never did. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.text)
        if (!match && !this.#hasEnded) return
        this.#listeners.delete(look)
        if (match) resolve(match)
        else reject(new Error(`The program ended and did not print ${pattern}, but:\n${this.text}`))
      }
      this.#listeners.add(look)
      look()
    })
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

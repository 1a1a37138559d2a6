import { sep } from 'node:path'
import type { FileSystem } from './file-system.ts'

/** The directory that holds the sessions of a store, a few files each. */
export class SessionDirectory {
  readonly fs: FileSystem
  /** Absolute. */
  readonly path: string
  readonly #prefix: string
  /** By session id: what must be done before the session can be used. */
  readonly #refusals = new Map<string, () => Promise<void>>()

  constructor(fs: FileSystem, path: string) {
    this.fs = fs
    this.path = path
    this.#prefix = path.endsWith(sep) ? path : path + sep
  }

  /** The path of a file of a session. Concatenated, because `join` parses a path that is already normal. */
  pathOf(id: string, kind: string): string {
    return `${this.#prefix}${id}.${kind}`
  }

  /**
   * Closes a file in the background. An error is ignored, because no caller could act on it: everything that
   * was promised about the file was synced before.
   */
  async close(fd: number): Promise<void> {
    try {
      await this.fs.close(fd)
    } catch {}
  }

  /**
   * Refuses a session until an action succeeds, which is tried again each time that the session is loaded. Other
   * processes do not know of it.
   */
  refuseUntil(id: string, action: () => Promise<void>): void {
    let running: Promise<void> | undefined
    const tryAgain = async (): Promise<void> => {
      try {
        await action()
        this.#refusals.delete(id)
      } finally {
        running = undefined
      }
    }
    // One at a time: a second one could undo what was done after the first.
    this.#refusals.set(id, () => {
      running ??= tryAgain()
      return running
    })
  }

  /** Rejects if a session is refused, and still cannot be used. */
  async assertNotRefused(id: string): Promise<void> {
    await this.#refusals.get(id)?.()
  }
}

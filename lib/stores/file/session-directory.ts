import { sep } from 'node:path'
import type { FileSystem } from './file-system.ts'

/** The directory that holds the sessions of a store, a few files each. */
export class SessionDirectory {
  readonly fs: FileSystem
  /** Absolute. */
  readonly path: string
  readonly #prefix: string

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
}

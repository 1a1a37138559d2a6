import { sep } from 'node:path'
import type { FileSystem } from './file-system.ts'

/**
 * A file that stays open between its uses, until it is let go: to open and close it costs a fragment of 64 KiB about as
 * much as to write it.
 */
export class OpenFile {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #id: string
  readonly #kind: string
  #fd: Promise<number> | undefined
  #users = 0
  #isLetGo = false

  /**
   * @param directory absolute
   * @param kind what its name ends with, behind the id of the session
   */
  constructor(fs: FileSystem, directory: string, id: string, kind: string) {
    this.#fs = fs
    this.#directory = directory
    this.#id = id
    this.#kind = kind
  }

  /** Put together when it is asked for: an open file needs none, and thousands may be open. */
  get path(): string {
    // By hand: `join` looks at each character of a path that is in order already.
    return `${this.#directory}${sep}${this.#id}.${this.#kind}`
  }

  get isOpen(): boolean {
    return this.#fd !== undefined
  }

  /**
   * Opens the file if it is not open. {@link leave} has to follow, also where this failed. There is one use at a time;
   * only one that was given up may still be under way, or begin late: once the file was let go, or a use failed, it is
   * open no longer than it is used.
   */
  enter(flags: string | number): Promise<number> {
    this.#users += 1
    this.#fd ??= this.#fs.open(this.path, flags)
    return this.#fd
  }

  /** Ends a use. Behind one that failed the file has to be let go. */
  leave(): void {
    this.#users -= 1
    if (this.#isLetGo) this.letGo()
  }

  /** A use, from its beginning to its end. */
  async use<T>(flags: string | number, work: (fd: number) => Promise<T>): Promise<T> {
    try {
      return await work(await this.enter(flags))
    } catch (error) {
      this.letGo()
      throw error
    } finally {
      this.leave()
    }
  }

  /** Closes the file. Not under a use: the number would soon be that of another file. */
  letGo(): void {
    this.#isLetGo = true
    if (this.#users > 0 || this.#fd === undefined) return
    // Whatever was promised of it was synced: what its end says now, nobody can act upon.
    this.#fd.then((fd) => this.#fs.close(fd)).catch(() => {})
    this.#fd = undefined
  }
}

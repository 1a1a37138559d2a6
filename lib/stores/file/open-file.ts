import type { SessionDirectory } from './session-directory.ts'

/**
 * A file that stays open between its uses, until it is let go: to open and close it costs a fragment of 64 KiB about as
 * much as to write it.
 */
export class SharedDescriptor {
  /** Whether to close it is little work; see {@link closesQuickly}. */
  closesQuickly: boolean
  readonly #directory: SessionDirectory
  readonly #id: string
  readonly #kind: string
  #opened: Promise<number> | undefined
  #fd = -1
  #users = 0
  #isLetGo = false

  /** @param kind what its name ends with, behind the id of the session */
  constructor(directory: SessionDirectory, id: string, kind: string, closesQuickly: boolean) {
    this.closesQuickly = closesQuickly
    this.#directory = directory
    this.#id = id
    this.#kind = kind
  }

  /** Put together when it is asked for: an open file needs none, and thousands may be open. */
  get path(): string {
    return this.#directory.pathOf(this.#id, this.#kind)
  }

  get isOpen(): boolean {
    return this.#opened !== undefined
  }

  /**
   * Opens the file if it is not open. {@link release} has to follow, once this has resolved or failed. There is one use at a
   * time; only one that was given up may still be under way, or begin late: once the file was let go, or a use failed, it
   * is open no longer than it is used.
   */
  acquire(flags: string | number): Promise<number> {
    this.#users += 1
    this.#opened ??= this.#open(flags)
    return this.#opened
  }

  #open(flags: string | number): Promise<number> {
    return this.#directory.fs.open(this.path, flags).then((fd) => {
      this.#fd = fd
      return fd
    })
  }

  /** Ends a use. Behind one that failed the file has to be let go. */
  release(): void {
    this.#users -= 1
    if (this.#isLetGo) this.close()
  }

  /** A use, from its beginning to its end. */
  async with<T>(flags: string | number, work: (fd: number) => Promise<T>): Promise<T> {
    try {
      return await work(await this.acquire(flags))
    } catch (error) {
      this.close()
      throw error
    } finally {
      this.release()
    }
  }

  /** Closes the file. Not under a use: the number would soon be that of another file. */
  close(): void {
    this.#isLetGo = true
    if (this.#users > 0) {
      // Whoever closes it behind a late use may be the last who knows it: others may have removed it.
      this.closesQuickly = false
      return
    }
    const fd = this.#fd
    this.#fd = -1
    this.#opened = undefined
    if (fd >= 0) this.#directory.close(fd, this.closesQuickly)
  }
}

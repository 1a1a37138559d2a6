import type { SessionDirectory } from './session-directory.ts'

/**
 * The descriptor of a file that stays open between uses, until {@link close}: to open and close the file for
 * each fragment of 64 KiB costs about as much as to write the fragment.
 */
export class SharedDescriptor {
  readonly #directory: SessionDirectory
  readonly #id: string
  readonly #kind: string
  #opened: Promise<number> | undefined
  /** Whether the file is open, or is being opened. It changes only by {@link acquire} and {@link close}. */
  isOpen = false
  #fd = -1
  #users = 0
  /** Whether the file is closed after its last use. */
  #closesAfterUse = false

  /** @param kind the extension of the file name, after the session id */
  constructor(directory: SessionDirectory, id: string, kind: string) {
    this.#directory = directory
    this.#id = id
    this.#kind = kind
  }

  /** Computed when it is needed: thousands of files may be open, and an open file needs no path. */
  get path(): string {
    return this.#directory.pathOf(this.#id, this.#kind)
  }

  /**
   * Opens the file if it is not open. {@link release} must follow when this has resolved or rejected.
   *
   * Only one use runs at a time, except that a call that exceeded its timeout may still be running, or may
   * start late. Therefore, after `close` or a failed use, the file is closed again after each use.
   */
  acquire(flags: string | number): Promise<number> {
    this.#users += 1
    this.#opened ??= this.#open(flags)
    this.isOpen = true
    return this.#opened
  }

  #open(flags: string | number): Promise<number> {
    return this.#directory.fs.open(this.path, flags).then((fd) => {
      this.#fd = fd
      return fd
    })
  }

  /** Ends a use. After a failed use {@link close} must be called, too. */
  release(): void {
    this.#users -= 1
    if (this.#closesAfterUse) this.close()
  }

  /** Acquires the descriptor, works with it and releases it. */
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

  /**
   * Closes the file, after its last use: the number of a closed descriptor is soon that of another file. Resolves when a
   * file that is not in use is closed.
   */
  close(): Promise<void> | undefined {
    this.#closesAfterUse = true
    if (this.#users > 0) return undefined
    const fd = this.#fd
    this.#fd = -1
    this.#opened = undefined
    this.isOpen = false
    return fd >= 0 ? this.#directory.close(fd) : undefined
  }
}

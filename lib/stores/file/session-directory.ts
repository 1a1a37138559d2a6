import { sep } from 'node:path'
import type { FileSystem } from './file-system.ts'
import { fileSystemOf } from './mounts.ts'

/**
 * File systems on which closing a small file waits for nothing. Not XFS, which frees what it allocated ahead in a
 * transaction, and has that wait while the file system is frozen for a snapshot; nor Btrfs, which does so with a file that
 * was unlinked; nor NFS, which writes what it held back, and asks its server. Whether others wait nobody has looked.
 */
const ClosingAtOnce = ['ext2', 'ext3', 'ext4', 'tmpfs']

/** Milliseconds after which it is asked again: another file system may have been mounted. */
const AskEvery = 10_000

/**
 * Bytes up to which a file is small. Should somebody have unlinked it by hand, whoever closes it gives back its blocks, and
 * may wait for the journal.
 */
const SmallFileBytes = 64 * 1024

/** Whether a file of so many bytes is closed quickly. */
export const closesQuickly = (size: number): boolean => size <= SmallFileBytes

/** The directory in which the sessions of a store rest, a few files each. */
export class SessionDirectory {
  readonly fs: FileSystem
  /** Absolute. */
  readonly path: string
  readonly #prefix: string
  #closesAtOnce = false
  /** When that was answered last, by the monotonic clock; meanwhile, never. */
  #answered = Number.NEGATIVE_INFINITY

  constructor(fs: FileSystem, path: string) {
    this.fs = fs
    this.path = path
    this.#prefix = path.endsWith(sep) ? path : path + sep
  }

  /** Put together by hand: `join` looks at each character of a path that is in order already. */
  pathOf(id: string, kind: string): string {
    return `${this.#prefix}${id}.${kind}`
  }

  /**
   * Closes a file. What its end says, nobody can act upon: whatever was promised of it was synced.
   *
   * One that closes quickly is closed in this thread where that waits for nothing, which takes 3 microseconds; the way to
   * a thread of libuv's and back takes 20 to 30 where one core is all there is, and an upload of 1 KiB has two files to
   * close. Until it is known, and where it cannot be, it is closed as all others are.
   */
  close(fd: number, quickly: boolean): void {
    if (quickly && performance.now() - this.#answered > AskEvery) void this.#ask()
    if (quickly && this.#closesAtOnce) this.#closeHere(fd)
    else void this.#closeElsewhere(fd)
  }

  #closeHere(fd: number): void {
    try {
      this.fs.closeSync?.(fd)
    } catch {}
  }

  async #closeElsewhere(fd: number): Promise<void> {
    try {
      await this.fs.close(fd)
    } catch {}
  }

  async #ask(): Promise<void> {
    this.#closesAtOnce = false
    this.#answered = Number.POSITIVE_INFINITY
    try {
      const kind = this.fs.closeSync && (await fileSystemOf(this.fs, this.path))
      this.#closesAtOnce = kind !== undefined && ClosingAtOnce.includes(kind)
    } catch {
      // It waits, for all that is known.
    }
    this.#answered = performance.now()
  }
}

import { readdir, rename, rm, stat, statfs, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** The largest size of the pool, in bytes and as a share of the free memory. */
const MaxBytes = 6 * 1024 ** 3
const MaxShareOfFree = 0.3
const PollIntervalMs = 10
/** Bytes that are freed ahead of the writes: what a fast server writes in one poll interval. */
const FreeAheadBytes = 64 * 1024 ** 2
/** The first fill: bytes for each millisecond of a measurement, warm-up included, in files of this size. */
const FillBytesPerMs = 3 * 1024 ** 2
const FillFileBytes = 16 * 1024 ** 2

interface PoolFile {
  readonly path: string
  readonly size: number
}

/**
 * Files of earlier runs on tmpfs, removed only as fast as a later run writes new ones, so that the memory of
 * one run is used by the next and is never free for long. A virtual machine may return free memory to its
 * host at once. To get it back takes several times as long as to receive the bytes that are stored there, and
 * then all servers look alike.
 */
export class Pool {
  readonly #directory: string
  readonly #files: PoolFile[] = []
  #size = 0
  #count = 0

  private constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * @param directory an empty directory on tmpfs
   * @param timeMs duration of the measurement of a run
   */
  static async fill(directory: string, timeMs: number): Promise<Pool> {
    const pool = new Pool(directory)
    const zeros = Buffer.alloc(FillFileBytes)
    const max = Math.min(FillBytesPerMs * timeMs, await pool.#maxSize())
    while (pool.#size + FillFileBytes <= max) {
      await writeFile(pool.#nextPath(), zeros)
      pool.#add(FillFileBytes)
    }
    return pool
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }

  /** Moves the files of a run into the pool, as far as it has room, and removes the run's directory. */
  async addFiles(directory: string): Promise<void> {
    const max = await this.#maxSize()
    const entries = await readdir(directory, { recursive: true, withFileTypes: true })
    for (const entry of entries.filter((entry) => entry.isFile())) {
      const path = join(entry.parentPath, entry.name)
      const { size, nlink } = await stat(path)
      // Another hard link of the file may be in the pool already.
      if (this.#size + size > max || nlink > 1) continue
      await rename(path, this.#nextPath())
      this.#add(size)
    }
    await rm(directory, { recursive: true, force: true })
  }

  /** Removes files as fast as a run writes new ones, until the signal is aborted. */
  async freeDuringRun(signal: AbortSignal): Promise<void> {
    const level = await this.#usedBytes()
    while (!signal.aborted && this.#files.length > 0) {
      for (let used = await this.#usedBytes(); used + FreeAheadBytes > level; ) {
        const oldest = this.#files.shift()
        if (!oldest) return
        await unlink(oldest.path)
        this.#size -= oldest.size
        used -= oldest.size
      }
      await delay(PollIntervalMs)
    }
  }

  #nextPath(): string {
    return join(this.#directory, String(this.#count))
  }

  /** Counts the file that was put at the next path. */
  #add(size: number): void {
    this.#files.push({ path: this.#nextPath(), size })
    this.#size += size
    this.#count += 1
  }

  async #maxSize(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory)
    return Math.min(MaxBytes, MaxShareOfFree * (bavail * bsize + this.#size))
  }

  async #usedBytes(): Promise<number> {
    const { blocks, bfree, bsize } = await statfs(this.#directory)
    return (blocks - bfree) * bsize
  }
}

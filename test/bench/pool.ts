import { readdir, rename, rm, stat, statfs, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { temporaryDirectory } from './temporary.ts'

/** What is kept at most, in bytes, and as a share of what is free. */
const Most = 6 * 1024 ** 3
const Share = 0.3
/** Milliseconds between two looks. */
const LookEvery = 10
/** Bytes that are freed ahead of what is written: what a fast receiver writes between two looks. */
const Ahead = 64 * 1024 ** 2
/** Bytes that the first run finds for each millisecond that it is measured, warm-up and all, in files of so many. */
const First = 3 * 1024 ** 2
const FirstFile = 16 * 1024 ** 2

interface Old {
  readonly path: string
  readonly size: number
}

/**
 * Files of earlier runs, in memory, which are removed only as fast as later runs write new ones. A virtual machine may give
 * memory that is free back to its host at once; to get it again costs several times what it costs to receive the
 * bytes that go there, and all receivers look alike. So the memory of one run goes to the next without ever being free for long.
 */
export class Pool {
  readonly #directory: string
  readonly #files: Old[] = []
  #size = 0
  #count = 0

  private constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * @param parent a directory in memory
   * @param time milliseconds that a run is measured
   */
  static async fill(parent: string, time: number): Promise<Pool> {
    const pool = new Pool(await temporaryDirectory(parent))
    const zeros = Buffer.alloc(FirstFile)
    for (const most = Math.min(First * time, await pool.#most()); pool.#size + FirstFile <= most; ) {
      await writeFile(pool.#next(), zeros)
      pool.#keep(FirstFile)
    }
    return pool
  }

  /** Removes all that is left. */
  async empty(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }

  /** Takes what a run left. */
  async take(room: string): Promise<void> {
    const most = await this.#most()
    const found = await readdir(room, { recursive: true, withFileTypes: true })
    for (const entry of found.filter((entry) => entry.isFile())) {
      const path = join(entry.parentPath, entry.name)
      const { size, nlink } = await stat(path)
      // Another name of it may be here already.
      if (this.#size + size > most || nlink > 1) continue
      await rename(path, this.#next())
      this.#keep(size)
    }
    await rm(room, { recursive: true, force: true })
  }

  /** Makes room for what is written, until told to end. */
  async serve(signal: AbortSignal): Promise<void> {
    const level = await this.#used()
    while (!signal.aborted && this.#files.length > 0) {
      for (let used = await this.#used(); used + Ahead > level; ) {
        const old = this.#files.shift()
        if (!old) return
        await unlink(old.path)
        this.#size -= old.size
        used -= old.size
      }
      await delay(LookEvery)
    }
  }

  #next(): string {
    return join(this.#directory, String(this.#count))
  }

  /** What stands at the next place. */
  #keep(size: number): void {
    this.#files.push({ path: this.#next(), size })
    this.#size += size
    this.#count += 1
  }

  async #most(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory)
    return Math.min(Most, Share * (bavail * bsize + this.#size))
  }

  async #used(): Promise<number> {
    const { blocks, bfree, bsize } = await statfs(this.#directory)
    return (blocks - bfree) * bsize
  }
}

import { canSyncDirectories, type FileSystem } from './file-system.ts'

/**
 * Milliseconds after which a directory is opened anew: if somebody put another in its place, entries made there would not be
 * durable.
 */
const ReuseForMs = 10

/** A directory that is open, and since when by the monotonic clock. */
interface Opened {
  readonly fd: number
  readonly since: number
}

/**
 * Makes the entries of directories durable, for all who ask meanwhile at once: what was done before a sync begins is
 * in it, so whoever comes while one is under way waits for the next, and that is one for all of them. If the one under
 * way fails they hear that too: the kernel tells an error once, and what it did not write may be theirs.
 * While one follows another the directory stays open: to open and close it is two calls of three.
 */
export class DirectorySyncer {
  readonly #fs: FileSystem
  /** By path: the sync that is under way, and the one that will begin behind it. */
  readonly #running = new Map<string, Promise<void>>()
  readonly #next = new Map<string, Promise<void>>()
  readonly #open = new Map<string, Opened>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  sync(path: string): Promise<void> {
    if (!canSyncDirectories) return Promise.resolve()
    const next = this.#next.get(path)
    if (next) return next
    const running = this.#running.get(path)
    if (!running) return this.#begin(path)
    const behind = running.then(
      () => this.#begin(path),
      (error) => {
        this.#next.delete(path)
        throw error
      },
    )
    this.#next.set(path, behind)
    return behind
  }

  #begin(path: string): Promise<void> {
    this.#next.delete(path)
    const sync = this.#sync(path)
    this.#running.set(path, sync)
    const end = (): void => {
      this.#running.delete(path)
    }
    // Before anybody else hears of its end.
    sync.then(end, end)
    return sync
  }

  async #sync(path: string): Promise<void> {
    const opened = this.#open.get(path) ?? (await this.#openDirectory(path))
    this.#open.delete(path)
    let isKept = false
    try {
      await this.#fs.fsync(opened.fd)
      isKept = this.#next.has(path) && performance.now() - opened.since < ReuseForMs
    } finally {
      if (isKept) this.#open.set(path, opened)
      // Nobody could act upon what its end says: the sync told.
      else this.#fs.close(opened.fd).catch(() => {})
    }
  }

  async #openDirectory(path: string): Promise<Opened> {
    const since = performance.now()
    return { fd: await this.#fs.open(path, 'r'), since }
  }
}

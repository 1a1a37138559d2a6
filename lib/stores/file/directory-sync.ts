import { canSyncDirectories, type FileSystem } from './file-system.ts'

/**
 * Milliseconds for which an open directory is used for consecutive syncs. Then it is opened again: if the
 * directory was replaced, a sync of the old one would not make new entries durable.
 */
const ReuseForMs = 10

interface OpenDirectory {
  readonly fd: number
  /** When it was opened, by the monotonic clock. */
  readonly since: number
}

/**
 * Syncs directories with group commit: calls that arrive during a sync share the next one, because a sync
 * covers only entries that were made before it started. If the running sync fails, the waiting calls fail,
 * too: the kernel reports an error once, and it may concern their entries.
 *
 * The directory stays open between consecutive syncs, which saves two of three calls.
 */
export class DirectorySyncer {
  readonly #fs: FileSystem
  /** By path: the sync that is running, and the one that starts after it. */
  readonly #running = new Map<string, Promise<void>>()
  readonly #next = new Map<string, Promise<void>>()
  readonly #open = new Map<string, OpenDirectory>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  sync(path: string): Promise<void> {
    if (!canSyncDirectories) return Promise.resolve()
    const next = this.#next.get(path)
    if (next) return next
    const running = this.#running.get(path)
    if (!running) return this.#start(path)
    const queued = running.then(
      () => this.#start(path),
      (error) => {
        this.#next.delete(path)
        throw error
      },
    )
    this.#next.set(path, queued)
    return queued
  }

  #start(path: string): Promise<void> {
    this.#next.delete(path)
    const sync = this.#sync(path)
    this.#running.set(path, sync)
    const end = (): void => {
      this.#running.delete(path)
    }
    // First, so that it runs before the callbacks of the callers.
    sync.then(end, end)
    return sync
  }

  async #sync(path: string): Promise<void> {
    const directory = this.#open.get(path) ?? (await this.#openDirectory(path))
    this.#open.delete(path)
    let staysOpen = false
    try {
      await this.#fs.fsync(directory.fd)
      staysOpen = this.#next.has(path) && performance.now() - directory.since < ReuseForMs
    } finally {
      if (staysOpen) this.#open.set(path, directory)
      // An error of close is ignored, because the sync has reported its own.
      else this.#fs.close(directory.fd).catch(() => {})
    }
  }

  async #openDirectory(path: string): Promise<OpenDirectory> {
    const since = performance.now()
    return { fd: await this.#fs.open(path, 'r'), since }
  }
}

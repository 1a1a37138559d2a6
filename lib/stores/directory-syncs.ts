import { type FileSystem, syncDirectory } from './file-system.ts'

/**
 * Makes the entries of directories durable, for all who ask meanwhile at once: what was done before a sync begins is
 * in it, so whoever comes while one is under way waits for the next, and that is one for all of them. If the one under
 * way fails they hear that too: the kernel tells an error once, and what it did not write may be theirs.
 */
export class DirectorySyncs {
  readonly #fs: FileSystem
  /** By path: the sync that is under way, and the one that will begin behind it. */
  readonly #running = new Map<string, Promise<void>>()
  readonly #next = new Map<string, Promise<void>>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  sync(path: string): Promise<void> {
    const running = this.#running.get(path)
    if (!running) return this.#begin(path)
    const next = this.#next.get(path) ?? running.then(() => this.#begin(path))
    this.#next.set(path, next)
    return next
  }

  #begin(path: string): Promise<void> {
    this.#next.delete(path)
    const sync = syncDirectory(this.#fs, path).finally(() => {
      if (this.#running.get(path) === sync) this.#running.delete(path)
    })
    this.#running.set(path, sync)
    return sync
  }
}

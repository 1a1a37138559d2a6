import { join } from 'node:path'
import { type FileSystem, orAbsent, syncDirectory, writeAll } from './file-system.ts'
import type { Records } from './record.ts'
import type { Body } from './store.ts'

/** Bytes after which an unfinished upload is synced, so that a loss of power costs the client no more than these. */
const SyncEvery = 64 * 1024 * 1024

/** The bytes of the sessions, a file each: its length is the progress. */
export class Parts {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #records: Records

  constructor(fs: FileSystem, directory: string, records: Records) {
    this.#fs = fs
    this.#directory = directory
    this.#records = records
  }

  path(id: string): string {
    return join(this.#directory, `${id}.part`)
  }

  /** A second name of the part, while it replaces a file. */
  spare(id: string): string {
    return join(this.#directory, `${id}.out`)
  }

  /**
   * Writes batch after batch behind `end`, one write in flight.
   * @param synced what would survive a loss of power; undefined where nothing is to be synced
   * @returns the new length, and what of it is synced
   */
  async write(
    fd: number,
    id: string,
    body: Body,
    { end, synced, signal }: { end: number; synced: number | undefined; signal: AbortSignal | undefined },
  ): Promise<{ end: number; synced: number | undefined }> {
    let at = end
    let sure = synced
    for await (const chunks of body) {
      // Given up: another packet may have the session by now.
      signal?.throwIfAborted()
      at = await writeAll(this.#fs, fd, chunks, at)
      if (sure !== undefined && at - sure >= SyncEvery) {
        await this.mark(fd, id, at, sure)
        sure = at
      }
    }
    return { end: at, synced: sure }
  }

  /** Syncs a part, and remembers how far it is: after a loss of power the upload goes on from there. */
  async mark(fd: number, id: string, end: number, synced: number): Promise<void> {
    await this.#fs.fdatasync(fd)
    await this.#records.note(id, { synced: end }, true)
    // The first time, the names of part and record as well.
    if (synced === 0) await syncDirectory(this.#fs, this.#directory)
  }

  async remove(id: string): Promise<void> {
    await orAbsent(this.#fs.unlink(this.path(id)))
  }
}

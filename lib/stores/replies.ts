import { constants } from 'node:fs'
import { join } from 'node:path'
import { type FileSystem, orAbsent, withFile, writeAll } from './file-system.ts'
import type { Body, KeptReply } from './store.ts'

/** The replies of the sessions, a file each. Whether there is one says the session's record. */
export class Replies {
  readonly #fs: FileSystem
  readonly #directory: string

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs
    this.#directory = directory
  }

  path(id: string): string {
    return join(this.#directory, `${id}.reply`)
  }

  /** Writes a reply; without a body it is what stands there already, or empty. Its name is not synced. */
  async keep(
    id: string,
    body: Body | undefined,
    { durable, signal }: { readonly durable: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | (body ? constants.O_TRUNC : 0)
    await withFile(this.#fs, this.path(id), flags, async (fd) => {
      let end = 0
      for await (const chunks of body ?? []) {
        signal?.throwIfAborted()
        end = await writeAll(this.#fs, fd, chunks, end)
      }
      if (durable) await this.#fs.fdatasync(fd)
    })
  }

  async load(id: string): Promise<KeptReply | undefined> {
    const path = this.path(id)
    const found = await orAbsent(this.#fs.stat(path))
    if (!found) return undefined
    const read = (start: number, end: number) => this.#fs.createReadStream(path, { start, end })
    return { size: found.size, modified: found.mtimeMs, read }
  }

  async remove(id: string): Promise<void> {
    await orAbsent(this.#fs.unlink(this.path(id)))
  }
}

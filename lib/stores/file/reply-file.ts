import { constants } from 'node:fs'
import type { Body, StoredReply } from '../store.ts'
import { orAbsent, withFile, writeAll } from './file-system.ts'
import type { SessionDirectory } from './session-directory.ts'

/** The reply of a session, a file. Whether it counts says the session's record. */
export class ReplyFile {
  readonly #directory: SessionDirectory
  readonly #id: string
  /** Whether something may stand there: then the session's end has to clear it away. */
  #mayStand: boolean

  constructor(directory: SessionDirectory, id: string, mayStand: boolean) {
    this.#directory = directory
    this.#id = id
    this.#mayStand = mayStand
  }

  get #path(): string {
    return this.#directory.pathOf(this.#id, 'reply')
  }

  /** For an application that may write it itself. */
  get path(): string {
    this.#mayStand = true
    return this.#path
  }

  /** Writes the reply; without a body it is what stands there already, or empty. Its name is not synced. */
  async keep(
    body: Body | undefined,
    { durable, signal }: { readonly durable: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { fs } = this.#directory
    const flags = constants.O_WRONLY | constants.O_CREAT | (body ? constants.O_TRUNC : 0)
    await withFile(fs, this.path, flags, async (fd) => {
      let end = 0
      for await (const chunks of body ?? []) {
        signal?.throwIfAborted()
        end = await writeAll(fs, fd, chunks, end)
      }
      if (durable) await fs.fdatasync(fd)
    })
  }

  async load(): Promise<StoredReply | undefined> {
    const { fs } = this.#directory
    const path = this.#path
    const found = await orAbsent(fs.stat(path))
    if (!found) return undefined
    const read = (start: number, end: number) => fs.createReadStream(path, { start, end })
    return { size: found.size, modified: found.mtimeMs, read }
  }

  /** Also where none was accepted: an earlier try may have left one. */
  remove(): Promise<void> | undefined {
    return this.#mayStand ? orAbsent(this.#directory.fs.unlink(this.#path)) : undefined
  }
}

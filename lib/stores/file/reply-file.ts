import { constants } from 'node:fs'
import type { Body, StoredReply } from '../store.ts'
import { orAbsent, withFile, writeAll } from './file-system.ts'
import type { SessionDirectory } from './session-directory.ts'

/**
 * The file of a reply, `{GUID}.reply`. It is a reply only if the journal of the session contains the
 * decision.
 */
export class ReplyFile {
  readonly #directory: SessionDirectory
  readonly #id: string
  /** Whether the file may exist, so that the end of the session must remove it. */
  #mayExist: boolean

  constructor(directory: SessionDirectory, id: string, mayExist: boolean) {
    this.#directory = directory
    this.#id = id
    this.#mayExist = mayExist
  }

  get #path(): string {
    return this.#directory.pathOf(this.#id, 'reply')
  }

  /** The path for an application, which may write the file. */
  get path(): string {
    this.#mayExist = true
    return this.#path
  }

  /**
   * Writes the reply. Without a body the reply is the file as it exists; a missing file is created empty. The
   * name of the file is not synced.
   */
  async write(
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
    const status = await orAbsent(fs.stat(path))
    if (!status) return undefined
    const read = (start: number, end: number) => fs.createReadStream(path, { start, end })
    return { size: status.size, modified: status.mtimeMs, read }
  }

  /** Removes the file, also if no reply was accepted: an earlier attempt may have written it. */
  remove(): Promise<void> | undefined {
    return this.#mayExist ? orAbsent(this.#directory.fs.unlink(this.#path)) : undefined
  }
}

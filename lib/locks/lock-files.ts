import { createHash } from 'node:crypto'
import { mkdir, readdir, rename, rmdir, unlink, writeFile } from 'node:fs/promises'

/** The code of a system error, for example `ENOENT`. Also for errors of another realm, as in Jest. */
export const systemCode = (error: unknown): unknown => (error as NodeJS.ErrnoException | undefined)?.code

/** Ignores errors with these codes. */
export const ignoring =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(String(systemCode(error)))) throw error
  }

/** `rename` to a directory that is not empty; on Windows to any directory. */
const occupied = ['ENOTEMPTY', 'EEXIST', ...(process.platform === 'win32' ? ['EPERM', 'EACCES'] : [])]

const isTag = (name: string): boolean => /^[0-9A-F]{6}$/.test(name)

/**
 * The lock files of a directory: `<hash of the lock key>/<tag of the holder>`, an empty file. A lock has one if its holder
 * is not the process that created the session. The folder appears together with its file, so one process succeeds
 * if several create it; the file is renamed by one process if several replace a holder that has exited.
 */
export class LockFiles {
  readonly #directory: string
  readonly #tag: string

  /** @param tag of this process */
  constructor(directory: string, tag: string) {
    this.#directory = directory
    this.#tag = tag
  }

  /**
   * The tag of the holder; undefined if there is no lock file.
   * @throws an `Error` if the folder contains something else
   */
  async holder(key: string): Promise<string | undefined> {
    const folder = this.#folder(key)
    const names = (await readdir(folder).catch(ignoring('ENOENT'))) ?? []
    const holder = names.find(isTag)
    if (holder === undefined && names.length > 0) {
      throw new Error(`${folder} contains ${names[0]}, which is no lock file: remove it`)
    }
    return holder
  }

  /** Creates the lock file of this process. Returns false if there is a lock file. */
  async create(key: string): Promise<boolean> {
    const folder = this.#folder(key)
    // Unique, because a process acquires a lock for one request at a time.
    const prepared = `${folder}.${this.#tag}`
    // It exists if it could not be removed below.
    await mkdir(prepared, { mode: 0o700 }).catch(ignoring('EEXIST'))
    try {
      await writeFile(`${prepared}/${this.#tag}`, '', { mode: 0o600 })
      await rename(prepared, folder)
      return true
    } catch (error) {
      await removeFolder(prepared, this.#tag).catch(() => {})
      ignoring(...occupied)(error)
      // Removes the folder only if it is empty, which is in the way on Windows.
      await rmdir(folder).catch(() => {})
      return false
    }
  }

  /** Replaces the lock file of a holder that has exited by that of this process. Returns false if it is gone. */
  async replace(key: string, holder: string): Promise<boolean> {
    const folder = this.#folder(key)
    const missing = await rename(`${folder}/${holder}`, `${folder}/${this.#tag}`)
      .then(() => false)
      .catch((error) => ignoring('ENOENT')(error) ?? true)
    return !missing
  }

  /** Removes the lock file of a process, if it exists. */
  remove(key: string, holder = this.#tag): Promise<void> {
    return removeFolder(this.#folder(key), holder)
  }

  /** Removes what processes that have exited left behind. */
  async removeOrphans(isRunning: (tag: string) => Promise<boolean>): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      const [match, preparedBy] = /^[0-9a-f]{32}(?:\.([0-9A-F]{6}))?$/.exec(name) ?? []
      if (match === undefined) continue
      const folder = `${this.#directory}/${name}`
      const names = (await readdir(folder).catch(ignoring('ENOENT', 'ENOTDIR'))) ?? []
      const tag = names.find(isTag) ?? preparedBy
      if (tag === undefined) await rmdir(folder).catch(() => {})
      else if (!(await isRunning(tag))) await removeFolder(folder, tag)
    }
  }

  #folder(key: string): string {
    return `${this.#directory}/${createHash('sha256').update(key).digest('hex').slice(0, 32)}`
  }
}

/** Removes a folder with one file. Another process may have created the folder again in between. */
async function removeFolder(folder: string, file: string): Promise<void> {
  await unlink(`${folder}/${file}`).catch(ignoring('ENOENT'))
  await rmdir(folder).catch(ignoring('ENOENT', ...occupied))
}

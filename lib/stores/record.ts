import { constants } from 'node:fs'
import { join } from 'node:path'
import { errno, type FileSystem, orAbsent, withFile } from './file-system.ts'
import type { Acceptance, NewSession } from './store.ts'

/** What becomes known of a session later. */
interface Facts {
  /** Size of the whole file. */
  readonly total?: number
  /** Bytes that would survive a loss of power. */
  readonly synced?: number
  /** The boot under which the bytes behind `synced` were written. */
  readonly boot?: string
  /** `onUpload` took the upload, and made this of it; null, if its bytes vanished after. */
  readonly accepted?: Acceptance | null
  /** `onUpload` refused the upload for good, for this reason; the part is of no use any more. */
  readonly refused?: string
  /** The file stands under the session's name, durably; the part is of no use any more. */
  readonly published?: true
  /** A copy of the part was begun beside the destination, which lies on another file system. */
  readonly copying?: true
}

/** A session's record: its beginning, and all facts since. */
export interface Record {
  readonly session: NewSession
  readonly facts: Facts & { readonly boot: string }
}

/**
 * The records of the sessions, one file each. A record is a journal, a line of JSON a fact: a fact costs one small
 * append, nothing is ever written in place, and a line that a crash tore is a fact that did not happen. Hence the line
 * feed on both sides: whatever stands before, a new fact begins on a line of its own.
 */
export class Records {
  readonly #fs: FileSystem
  readonly #directory: string

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs
    this.#directory = directory
  }

  path(id: string): string {
    return join(this.#directory, `${id}.json`)
  }

  /** Begins a record, whole or not at all. */
  async begin(session: NewSession, boot: string): Promise<void> {
    const path = this.path(session.id)
    const text = `${JSON.stringify({ version: 1, session })}\n${JSON.stringify({ boot })}\n`
    await withFile(this.#fs, path, 'wx', (fd) => this.#fs.write(fd, text)).catch(async (error) => {
      if (errno(error) !== 'EEXIST') await orAbsent(this.#fs.unlink(path)).catch(() => {})
      throw error
    })
  }

  async read(id: string): Promise<Record | undefined> {
    const text = await orAbsent(this.#fs.readFile(this.path(id), 'utf8'))
    return text === undefined ? undefined : readRecord(text)
  }

  /** Adds a fact to a record that exists; a removed session's must not come back. */
  async note(id: string, facts: Facts, durable = false): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_APPEND
    await withFile(this.#fs, this.path(id), flags, async (fd) => {
      await this.#fs.write(fd, `\n${JSON.stringify(facts)}\n`)
      if (durable) await this.#fs.fdatasync(fd)
    })
  }

  async remove(id: string): Promise<void> {
    await orAbsent(this.#fs.unlink(this.path(id)))
  }
}

/** Undefined for what is no record, or one torn while it was made. */
function readRecord(text: string): Record | undefined {
  const lines = text.split('\n')
  lines.pop() // What follows the last line feed is empty, or torn.
  const [head, ...facts] = lines.map(readLine)
  if (head?.version !== 1 || typeof head.session?.id !== 'string') return undefined
  const all = Object.assign({}, ...facts)
  return typeof all.boot === 'string' ? { session: head.session, facts: all } : undefined
}

// biome-ignore lint/suspicious/noExplicitAny: what stands in a file is checked where it is used
function readLine(line: string): any {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

import { constants } from 'node:fs'
import { join } from 'node:path'
import { errno, type FileSystem, orAbsent } from './file-system.ts'
import { OpenFile } from './open-file.ts'
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

/** All facts; one of them is there from the beginning. */
type Beginning = Facts & { readonly boot: string }

/**
 * The record of a session: its beginning, and all facts since. It is a journal, a line of JSON a fact: a fact costs one
 * small append, nothing is ever written in place, and a line that a crash tore is a fact that did not happen. Hence the
 * line feed on both sides: whatever stands before, a new fact begins on a line of its own.
 */
export class Record {
  readonly session: NewSession
  readonly #fs: FileSystem
  readonly #file: OpenFile
  #facts: Beginning

  private constructor(fs: FileSystem, file: OpenFile, session: NewSession, facts: Beginning) {
    this.#fs = fs
    this.#file = file
    this.session = session
    this.#facts = facts
  }

  static path(directory: string, id: string): string {
    return join(directory, `${id}.json`)
  }

  /** Begins a record, whole or not at all. */
  static async begin(
    fs: FileSystem,
    directory: string,
    session: NewSession,
    facts: Beginning,
  ): Promise<Record> {
    const file = new OpenFile(fs, Record.path(directory, session.id))
    const text = `${JSON.stringify({ version: 1, session })}\n${JSON.stringify(facts)}\n`
    await file
      .use('ax', (fd) => fs.write(fd, text))
      .catch(async (error) => {
        if (errno(error) !== 'EEXIST') await orAbsent(fs.unlink(file.path)).catch(() => {})
        throw error
      })
    return new Record(fs, file, session, facts)
  }

  static async read(fs: FileSystem, directory: string, id: string): Promise<Record | undefined> {
    const file = new OpenFile(fs, Record.path(directory, id))
    const text = await orAbsent(fs.readFile(file.path, 'utf8'))
    const found = text === undefined ? undefined : readRecord(text)
    return found && new Record(fs, file, found.session, found.facts)
  }

  get facts(): Beginning {
    return this.#facts
  }

  /** Adds a fact to a record that exists; a removed session's must not come back. */
  async note(facts: Facts, durable = false): Promise<void> {
    await this.#file.use(constants.O_WRONLY | constants.O_APPEND, async (fd) => {
      await this.#fs.write(fd, `\n${JSON.stringify(facts)}\n`)
      if (durable) await this.#fs.fdatasync(fd)
    })
    this.#facts = { ...this.#facts, ...facts }
  }

  letGo(): void {
    this.#file.letGo()
  }

  async remove(): Promise<void> {
    this.letGo()
    await orAbsent(this.#fs.unlink(this.#file.path))
  }
}

/** Undefined for what is no record, or one torn while it was made. */
function readRecord(text: string): { session: NewSession; facts: Beginning } | undefined {
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

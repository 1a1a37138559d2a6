import { constants } from 'node:fs'
import type { Decision, NewSession } from '../store.ts'
import { errno, orAbsent, syncDirectory, withFile } from './file-system.ts'
import { SharedDescriptor } from './open-file.ts'
import { closesQuickly, type SessionDirectory } from './session-directory.ts'

/** What becomes known of a session later. */
interface JournalEntry {
  /** Size of the whole file. */
  readonly total?: number
  /** Bytes that would survive a loss of power. */
  readonly synced?: number
  /** The boot under which the bytes behind `synced` were written; a word that is none, if their sync failed. */
  readonly boot?: string
  /** `onUpload` took the upload, and made this of it; null, if its bytes vanished after. */
  readonly accepted?: Decision | null
  /** `onUpload` rejected the upload for good, for this reason; the part is of no use any more. */
  readonly rejected?: string
  /** The file stands under the session's name, durably; the part is of no use any more. */
  readonly published?: true
  /** A copy of the part was begun beside the destination, which lies on another file system. */
  readonly copying?: true
  /** The fact before was to be durable, and its sync failed: it did not happen. */
  readonly reverted?: true
}

/** All facts; one of them is there from the beginning. */
type JournalState = JournalEntry & { readonly boot: string }

/** Facts after which a record is written anew: what is read again and again must not grow with the upload. */
const MaxEntries = 1000

/**
 * The record of a session: its beginning, and all facts since. It is a journal, a line of JSON a fact: a fact costs one
 * small append, nothing is ever written in place, and a line that a crash tore is a fact that did not happen. Hence the
 * line feed on both sides: whatever stands before, a new fact begins on a line of its own.
 */
export class SessionJournal {
  readonly session: NewSession
  readonly #directory: SessionDirectory
  readonly #file: SharedDescriptor
  #state: JournalState
  #count: number

  private constructor(
    directory: SessionDirectory,
    file: SharedDescriptor,
    { session, state, count }: JournalContents,
  ) {
    this.#directory = directory
    this.#file = file
    this.session = session
    this.#state = state
    this.#count = count
  }

  /** Begins a record, whole or not at all. */
  static async begin(
    directory: SessionDirectory,
    session: NewSession,
    state: JournalState,
  ): Promise<SessionJournal> {
    const { fs } = directory
    const text = serialize(session, state)
    const file = new SharedDescriptor(directory, session.id, 'json', closesQuickly(Buffer.byteLength(text)))
    try {
      await file.with('ax', (fd) => fs.write(fd, text))
    } catch (error) {
      if (errno(error) !== 'EEXIST') await orAbsent(fs.unlink(file.path)).catch(() => {})
      throw error
    }
    return new SessionJournal(directory, file, { session, state, count: 1 })
  }

  static async read(directory: SessionDirectory, id: string): Promise<SessionJournal | undefined> {
    const text = await orAbsent(directory.fs.readFile(directory.pathOf(id, 'json'), 'utf8'))
    if (text === undefined) return undefined
    const file = new SharedDescriptor(directory, id, 'json', closesQuickly(Buffer.byteLength(text)))
    const found = readJournal(text)
    return found && new SessionJournal(directory, file, found)
  }

  get state(): JournalState {
    return this.#state
  }

  /** Whether it is there, or was when this began; else a fact has to be noted to learn that. */
  get isOpen(): boolean {
    return this.#file.isOpen
  }

  /** Adds a fact to a record that exists; a removed session's must not come back. */
  async append(entry: JournalEntry, durable = false): Promise<void> {
    // Not put together of two: V8 would make a hidden class of its own for it.
    const all = Object.assign({}, this.#state, entry)
    if (durable && this.#count >= MaxEntries) await this.#replace(all)
    else await this.#append(entry, durable)
    this.#state = all
    this.#count += 1
  }

  #append(entry: JournalEntry, durable: boolean): Promise<void> {
    return this.#file.with(constants.O_WRONLY | constants.O_APPEND, (fd) => {
      const written = this.#directory.fs.write(fd, serializeEntry(entry))
      return durable ? written.then(() => this.#sync(fd)) : written
    })
  }

  async #sync(fd: number): Promise<void> {
    const { fs } = this.#directory
    try {
      await fs.fdatasync(fd)
    } catch (error) {
      // Else it would be read as a fact that is durable, and the next sync may say that all is well.
      await fs.write(fd, serializeEntry({ reverted: true })).catch(() => {})
      throw error
    }
  }

  /** Writes all facts as one, in the place of the others: durably, and at no moment are they not there. */
  async #replace(state: JournalState): Promise<void> {
    const { fs, path } = this.#directory
    const next = this.#directory.pathOf(this.session.id, 'new')
    await withFile(fs, next, 'w', async (fd) => {
      await fs.write(fd, serialize(this.session, state))
      await fs.fdatasync(fd)
    })
    this.#file.close()
    await fs.rename(next, this.#file.path)
    await syncDirectory(fs, path)
    this.#count = 0
  }

  close(): void {
    this.#file.close()
  }

  remove(): Promise<void> {
    this.close()
    return orAbsent(this.#directory.fs.unlink(this.#file.path))
  }
}

const serialize = (session: NewSession, state: JournalState): string =>
  `${JSON.stringify({ version: 1, session })}\n${JSON.stringify(state)}\n`

const serializeEntry = (entry: JournalEntry): string => `\n${JSON.stringify(entry)}\n`

/** What stands in a record. */
interface JournalContents {
  readonly session: NewSession
  readonly state: JournalState
  /** How many facts these were put together of. */
  readonly count: number
}

/** Undefined for what is no record, or one torn while it was made. */
function readJournal(text: string): JournalContents | undefined {
  const lines = text.split('\n')
  lines.pop() // What follows the last line feed is empty, or torn.
  // An empty line stands before each fact: to have JSON refuse them takes far longer than to read the facts.
  const [head, ...entries] = lines.filter((line) => line !== '').map(readLine)
  if (head?.version !== 1 || typeof head.session?.id !== 'string') return undefined
  const all = Object.assign(
    {},
    ...entries.filter((entry, i) => !entry?.reverted && !entries[i + 1]?.reverted),
  )
  if (typeof all.boot !== 'string') return undefined
  return { session: head.session, state: all, count: entries.length }
}

// biome-ignore lint/suspicious/noExplicitAny: what stands in a file is checked where it is used
function readLine(line: string): any {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

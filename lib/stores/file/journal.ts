import { constants } from 'node:fs'
import { checkFormat, corruptError, readCheckedLine, toCheckedLine } from '../state.ts'
import type { Decision, NewSession } from '../store.ts'
import { errno, orAbsent, syncDirectory, withFile } from './file-system.ts'
import { SharedDescriptor } from './open-file.ts'
import type { PublishIntent } from './publish.ts'
import type { SessionDirectory } from './session-directory.ts'

/** An entry: the fields of a session that change. */
interface JournalEntry {
  /** Size of the whole file in bytes. */
  readonly total?: number
  /** Bytes of the data file that would survive a loss of power. */
  readonly synced?: number
  /** The boot under which the bytes after `synced` were written; `'untrusted'` if their sync failed. */
  readonly boot?: string
  /** `onUpload` accepted the upload, with this decision; null if the bytes were lost afterwards. */
  readonly accepted?: Decision | null
  /** `onUpload` rejected the upload permanently, for this reason; the data file is obsolete. */
  readonly rejected?: string
  /** The file exists under the name of the session, durably; the data file is obsolete. */
  readonly published?: true
  /** Publishing is about to make the file visible, or has (`'done'`); null: it has not. See {@link PublishIntent}. */
  readonly publishing?: PublishIntent | 'done' | null
  /** A copy of the data file was started beside the destination, which is on another file system. */
  readonly copying?: true
  /** The previous entry does not count, because its sync failed. */
  readonly reverted?: true
}

/** All entries merged. The first entry contains `boot`. */
type JournalState = JournalEntry & { readonly boot: string }

/** Entries after which a journal is rewritten, because `load` reads all of it. */
const MaxEntries = 1000

/**
 * The journal of a session, `{GUID}.json`: the session as it was created, then one line for each entry, each with a
 * checksum. An entry costs one small append, and nothing is overwritten. A line that a crash cut off is an entry
 * that does not count; a complete line with a changed byte makes the journal corrupt. Each entry has a line feed before
 * and after it, so that it starts a line even after a line that was cut off.
 */
export class SessionJournal {
  readonly session: NewSession
  readonly #directory: SessionDirectory
  readonly #descriptor: SharedDescriptor
  /** All entries combined. It changes only by {@link append}. */
  state: JournalState
  #entryCount: number

  private constructor(directory: SessionDirectory, descriptor: SharedDescriptor, contents: JournalContents) {
    this.#directory = directory
    this.#descriptor = descriptor
    this.session = contents.session
    this.state = contents.state
    this.#entryCount = contents.entryCount
  }

  /** Creates a journal, or leaves no file. */
  static async create(
    directory: SessionDirectory,
    session: NewSession,
    state: JournalState,
  ): Promise<SessionJournal> {
    const { fs } = directory
    const descriptor = new SharedDescriptor(directory, session.id, 'json')
    try {
      await descriptor.with('ax', (fd) => fs.write(fd, serialize(session, state)))
    } catch (error) {
      if (errno(error) !== 'EEXIST') await orAbsent(fs.unlink(descriptor.path)).catch(() => {})
      throw error
    }
    return new SessionJournal(directory, descriptor, { session, state, entryCount: 1 })
  }

  /** Reads a journal; undefined if there is none, or if it was cut off while it was created. */
  static async read(directory: SessionDirectory, id: string): Promise<SessionJournal | undefined> {
    const text = await orAbsent(directory.fs.readFile(directory.pathOf(id, 'json'), 'utf8'))
    const contents = text === undefined ? undefined : parseJournal(id, text)
    return contents && new SessionJournal(directory, new SharedDescriptor(directory, id, 'json'), contents)
  }

  /** Appends an entry. Rejects with ENOENT if the session was removed, unless the journal is open. */
  async append(entry: JournalEntry, durable = false): Promise<void> {
    // Not an object spread, for which V8 would create another hidden class.
    const state = Object.assign({}, this.state, entry)
    if (durable && this.#entryCount >= MaxEntries) await this.#rewrite(state)
    else await this.#append(entry, durable)
    this.state = state
    this.#entryCount += 1
  }

  #append(entry: JournalEntry, durable: boolean): Promise<void> {
    return this.#descriptor.with(constants.O_WRONLY | constants.O_APPEND, (fd) => {
      const written = this.#directory.fs.write(fd, serializeEntry(entry))
      return durable ? written.then(() => this.#sync(fd)) : written
    })
  }

  async #sync(fd: number): Promise<void> {
    const { fs } = this.#directory
    try {
      await fs.fdatasync(fd)
    } catch (error) {
      // Otherwise `load` would take the entry for durable, and the next sync may succeed without having
      // written it.
      const { path } = this.#descriptor
      const revert = (fd: number) => fs.write(fd, serializeEntry({ reverted: true }))
      await revert(fd).catch(() =>
        this.#directory.refuseUntil(this.session.id, () =>
          withFile(fs, path, constants.O_WRONLY | constants.O_APPEND, revert),
        ),
      )
      throw error
    }
  }

  /** Replaces the journal durably and atomically by one with a single entry. */
  async #rewrite(state: JournalState): Promise<void> {
    const { fs, path } = this.#directory
    const next = this.#directory.pathOf(this.session.id, 'new')
    await withFile(fs, next, 'w', async (fd) => {
      await fs.write(fd, serialize(this.session, state))
      await fs.fdatasync(fd)
    })
    this.#descriptor.close()
    await fs.rename(next, this.#descriptor.path)
    await syncDirectory(fs, path)
    this.#entryCount = 0
  }

  close(): void {
    this.#descriptor.close()
  }

  remove(): Promise<void> {
    this.close()
    return orAbsent(this.#directory.fs.unlink(this.#descriptor.path))
  }
}

const serialize = (session: NewSession, state: JournalState): string =>
  `${toCheckedLine({ version: 1, session })}\n${toCheckedLine(state)}\n`

const serializeEntry = (entry: JournalEntry): string => `\n${toCheckedLine(entry)}\n`

/** The contents of a journal. */
interface JournalContents {
  readonly session: NewSession
  readonly state: JournalState
  readonly entryCount: number
}

/**
 * Undefined for a journal that was cut off while it was created.
 * @throws {BitsError} `store-failed` for a journal that is corrupt, or of a newer format
 */
function parseJournal(id: string, text: string): JournalContents | undefined {
  checkFormat(text, id)
  // Empty lines are before the entries.
  const [head, ...entries] = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => readCheckedLine(line, id))
  const state = Object.assign(
    {},
    ...entries.filter((entry, i) => !entry?.reverted && !entries[i + 1]?.reverted),
  )
  if (head?.version === 1 && head.session?.id === id && typeof state.boot === 'string') {
    return { session: head.session, state, entryCount: entries.length }
  }
  // It was cut off while it was created, or was not on disk when the power failed.
  if (entries.every((entry) => entry === undefined) || text.includes('\0\0')) return undefined
  throw corruptError(id)
}

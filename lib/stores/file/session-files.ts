import { BitsError } from '../../protocol/errors.ts'
import type { Decision, NewSession, Session, SessionState } from '../store.ts'
import { orAbsent, syncDirectory } from './file-system.ts'
import type { SessionJournal } from './journal.ts'
import { SharedDescriptor } from './open-file.ts'
import type { PublishPaths } from './publish.ts'
import type { ReplyFile } from './reply-file.ts'
import type { SessionDirectory } from './session-directory.ts'

/** The fields of a session that change. None is optional, so that V8 needs only one hidden class. */
export interface SessionProgress extends Pick<Session, 'state' | 'received' | 'updatedAt'> {
  readonly total: number | undefined
  readonly decision: Decision | undefined
  readonly rejection: string | undefined
}

/** The files of a session. */
export interface SessionFiles {
  readonly journal: SessionJournal
  readonly dataFile: DataFile
  readonly reply: ReplyFile
}

/**
 * A session with its files. A class, because V8 creates a hidden class for each object that is combined from
 * several: 400 bytes more, and no inline cache knows it.
 */
export class FileSession implements Session, SessionFiles {
  readonly id: string
  readonly name: string
  readonly path: string
  readonly url: string
  declare readonly owner?: string
  readonly maxSize: number
  readonly overwrite: boolean
  declare readonly metadata?: Readonly<Record<string, string>>
  readonly created: number
  readonly state: SessionState
  readonly received: number
  readonly updatedAt: number
  declare readonly total?: number
  declare readonly decision?: Decision
  declare readonly rejection?: string
  readonly journal: SessionJournal
  readonly dataFile: DataFile
  readonly reply: ReplyFile

  constructor(created: NewSession, progress: SessionProgress, files: SessionFiles) {
    this.id = created.id
    this.name = created.name
    this.path = created.path
    this.url = created.url
    this.maxSize = created.maxSize
    this.overwrite = created.overwrite
    this.created = created.created
    this.state = progress.state
    this.received = progress.received
    this.updatedAt = progress.updatedAt
    this.journal = files.journal
    this.dataFile = files.dataFile
    this.reply = files.reply
    if (created.owner !== undefined) this.owner = created.owner
    if (created.metadata) this.metadata = created.metadata
    if (progress.total !== undefined) this.total = progress.total
    if (progress.decision) this.decision = progress.decision
    if (progress.rejection !== undefined) this.rejection = progress.rejection
  }
}

/** Closes the files of a session that are open. */
export function releaseFiles({ dataFile, journal }: SessionFiles): void {
  dataFile.descriptor.close()
  journal.close()
}

/** Milliseconds since the last write after which the data file is verified before the next write. */
const VerifyAfterMs = 100

/** Journaled instead of a boot id when a sync failed: no boot has this id, so the bytes are never trusted. */
const UntrustedBoot = 'untrusted'

/** The data file of a session, `{GUID}.part`. Its length is the progress. */
export class DataFile {
  readonly descriptor: SharedDescriptor
  readonly #directory: SessionDirectory
  readonly #journal: SessionJournal
  /** When this process wrote last, by the monotonic clock; see {@link verify}. */
  lastWrite = Number.NEGATIVE_INFINITY
  /** Whether the file was made visible under its name. The session need not be published yet, after a crash or a failure. */
  isVisible = false
  /** Whether the bytes must go to a new file, because this one has links that other programs made. */
  mustReplace = false

  constructor(directory: SessionDirectory, journal: SessionJournal) {
    this.descriptor = new SharedDescriptor(directory, journal.session.id, 'part')
    this.#directory = directory
    this.#journal = journal
  }

  get path(): string {
    return this.descriptor.path
  }

  get paths(): PublishPaths {
    const { id } = this.#journal.session
    return {
      data: this.path,
      journal: this.#directory.pathOf(id, 'json'),
      out: this.#directory.pathOf(id, 'out'),
    }
  }

  /**
   * Forgets an attempt to publish that did not make the file visible. Before each change of the data file, which
   * would change what the attempt is recognized by.
   */
  async forgetPublishing(): Promise<void> {
    if (!this.isVisible) await this.#journal.append({ publishing: null })
  }

  /**
   * Checks that the open file still exists and has the expected length: an operator may have removed it, or
   * restored an older one. Skipped while fragments follow each other closely, because `fstat` costs half as
   * much as to write a fragment of 64 KiB.
   * @throws {BitsError} `out-of-sync`
   */
  async verify(fd: number, received: number): Promise<void> {
    if (performance.now() - this.lastWrite < VerifyAfterMs) return
    const { nlink, size } = await this.#directory.fs.fstat(fd)
    // More than one link is allowed: an operator may keep copies as hard links.
    if (nlink === 0 || size !== received)
      throw new BitsError(
        'out-of-sync',
        'The data file of the session was removed or changed by another program',
      )
  }

  /** Saves how many bytes are synced: after a loss of power the upload resumes there. */
  async checkpoint(end: number, synced: number): Promise<void> {
    // The first checkpoint also syncs the names of data file and journal. Before the journal entry, so that
    // it is done again after a failure.
    if (synced === 0) await syncDirectory(this.#directory.fs, this.#directory.path)
    await this.#journal.append({ synced: end }, true)
  }

  /**
   * Discards the bytes after `synced`, whose sync failed. It tries each way in turn, because the disk may be full or
   * read-only. If none works, this process cannot load the session until its data file can be removed.
   */
  async discardUnsynced(fd: number, synced: number, mayTruncate: boolean): Promise<void> {
    const { fs } = this.#directory
    const succeeds = (call: Promise<unknown>): Promise<boolean> =>
      call.then(
        () => true,
        () => false,
      )
    if (mayTruncate && (await succeeds(fs.ftruncate(fd, synced)))) return
    if (await succeeds(this.#journal.append({ boot: UntrustedBoot }, true))) return
    const removeFile = (): Promise<void> => orAbsent(fs.unlink(this.path))
    if (await succeeds(removeFile())) return
    this.#directory.refuseUntil(this.#journal.session.id, removeFile)
  }

  remove(): Promise<void> {
    this.descriptor.close()
    return orAbsent(this.#directory.fs.unlink(this.path))
  }
}

import { BitsError } from '../../protocol/errors.ts'
import { orAbsent, syncDirectory } from './file-system.ts'
import type { SessionJournal } from './journal.ts'
import { SharedDescriptor } from './open-file.ts'
import type { SessionDirectory } from './session-directory.ts'

/** Milliseconds after which the part is looked at before it is written to again. */
const CheckAfter = 100

/** The bytes of a session, a file whose length is the progress. */
export class DataFile {
  readonly file: SharedDescriptor
  readonly #directory: SessionDirectory
  readonly #record: SessionJournal
  /** When this process wrote it last, by the monotonic clock. */
  #written = Number.NEGATIVE_INFINITY

  constructor(directory: SessionDirectory, record: SessionJournal) {
    this.file = new SharedDescriptor(directory, record.session.id, 'part', false)
    this.#directory = directory
    this.#record = record
  }

  /** A second name of it, while it replaces a file. */
  get replacementLink(): string {
    return this.#directory.pathOf(this.#record.session.id, 'out')
  }

  /**
   * Looks whether the open file is still what it was: somebody may have removed it, or put back an older one. Not in the
   * midst of an upload that goes on and on: to look takes a fragment of 64 KiB half as long as to write it.
   * @throws {BitsError} `out-of-sync`
   */
  async verify(fd: number, received: number): Promise<void> {
    if (performance.now() - this.#written < CheckAfter) return
    const { nlink, size } = await this.#directory.fs.fstat(fd)
    // More names than one are no harm: somebody may keep copies in that way.
    if (nlink === 0 || size !== received)
      throw new BitsError('out-of-sync', 'The bytes held are not there any more')
  }

  /** Bytes were added to it just now. */
  touched(): void {
    this.#written = performance.now()
  }

  /** Remembers how far the part was synced: after a loss of power the upload goes on from there. */
  async checkpoint(end: number, synced: number): Promise<void> {
    // The first time, the names of part and record as well: before that is noted, for if it fails it has to be done again.
    if (synced === 0) await syncDirectory(this.#directory.fs, this.#directory.path)
    await this.#record.append({ synced: end }, true)
  }

  remove(): Promise<void> {
    this.file.close()
    return orAbsent(this.#directory.fs.unlink(this.file.path))
  }
}

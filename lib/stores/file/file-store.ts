import { join } from 'node:path'
import type { Locker } from '../../locks/locker.ts'
import { isFinal, stateOf } from '../state.ts'
import type {
  AppendOptions,
  Body,
  Decision,
  ListOptions,
  NewSession,
  SessionPaths,
  Store,
  StoredReply,
  StoreOptions,
} from '../store.ts'
import { append, type Disk, type Durability } from './append.ts'
import { checkDestination, type Directories } from './destination.ts'
import { DirectorySyncer } from './directory-sync.ts'
import {
  errno,
  type FileSystem,
  makeDirectories,
  orAbsent,
  sameBoot,
  syncDirectory,
  translate,
} from './file-system.ts'
import { SessionJournal } from './journal.ts'
import { listSessions } from './list.ts'
import { assertLinks, publishFile, temporaryCopyPath } from './publish.ts'
import { recover } from './recovery.ts'
import { ReplyFile } from './reply-file.ts'
import { SessionDirectory } from './session-directory.ts'
import {
  DataFile,
  FileSession,
  releaseFiles,
  type SessionFiles,
  type SessionProgress,
} from './session-files.ts'

/** See {@link fileStore}. */
export class FileStore implements Store<FileSession> {
  readonly locker: Locker
  readonly #directories: Directories
  readonly #sessions: SessionDirectory
  readonly #fs: FileSystem
  readonly #directorySyncer: DirectorySyncer
  readonly #disk: Disk
  /** Whether the file system of the published files has hard links. */
  #hasLinks = false

  constructor(directories: Directories, fs: FileSystem, durability: Durability, locker: Locker) {
    this.locker = locker
    this.#directories = directories
    this.#sessions = new SessionDirectory(fs, directories.sessions)
    this.#fs = fs
    this.#directorySyncer = new DirectorySyncer(fs)
    this.#disk = { fs, durability, boot: fs.boot() }
  }

  async create(session: NewSession): Promise<FileSession> {
    await checkDestination(this.#fs, this.#directories, session)
    const createJournal = () => SessionJournal.create(this.#sessions, session, { boot: this.#disk.boot })
    try {
      const journal = await createJournal().catch(async (error) => {
        if (errno(error) !== 'ENOENT') throw error
        await makeDirectories(this.#fs, this.#directories, this.#isDurable)
        return createJournal()
      })
      const progress: SessionProgress = {
        state: 'receiving',
        received: 0,
        total: undefined,
        updatedAt: session.created,
        decision: undefined,
        rejection: undefined,
      }
      if (!session.overwrite && !this.#hasLinks) await this.#tryLinks(journal)
      return new FileSession(session, progress, this.#filesOf(journal, { isNew: true }))
    } catch (error) {
      throw translate(error)
    }
  }

  /** Once, with the first session, so that the first upload does not fail only after its last byte. */
  async #tryLinks(journal: SessionJournal): Promise<void> {
    const { root, sessions } = this.#directories
    const { id } = journal.session
    try {
      const [one, other] = await Promise.all([this.#fs.stat(root), this.#fs.stat(sessions)])
      const isOneFileSystem = one.dev === other.dev
      await assertLinks(
        this.#fs,
        isOneFileSystem ? this.#sessions.pathOf(id, 'new') : join(root, `.${id}.part`),
      )
      this.#hasLinks = true
    } catch (error) {
      await journal.remove()
      throw error
    }
  }

  async load(id: string): Promise<FileSession | undefined> {
    await this.#sessions.assertNotRefused(id)
    const [journal, dataStatus] = await Promise.all([
      SessionJournal.read(this.#sessions, id),
      orAbsent(this.#fs.stat(this.#sessions.pathOf(id, 'part'))),
    ])
    if (!journal) return undefined
    const { session, state } = journal
    const status = dataStatus ?? (await orAbsent(this.#fs.stat(this.#sessions.pathOf(id, 'json'))))
    // Removed since the journal was read.
    if (!status) return undefined
    const files = this.#filesOf(journal, { isNew: false })
    const held = isFinal(state)
      ? dataStatus?.size
      : await recover(this.#fs, this.#directories, this.#disk.boot, files, dataStatus)
    // The entry with the size may be lost as well, with bytes that were acknowledged: then this is no empty file.
    const isUnknown =
      !isFinal(state) && !held && state.total === undefined && !sameBoot(state.boot, this.#disk.boot)
    const progress: SessionProgress = {
      state: isUnknown ? 'lost' : stateOf(state, held),
      received: isFinal(state) ? (state.total ?? 0) : (held ?? 0),
      total: state.total,
      updatedAt: status.mtimeMs,
      decision: state.accepted ?? undefined,
      rejection: state.rejected,
    }
    return new FileSession(session, progress, files)
  }

  #filesOf(journal: SessionJournal, { isNew }: { isNew: boolean }): SessionFiles {
    const dataFile = new DataFile(this.#sessions, journal)
    return { journal, dataFile, reply: new ReplyFile(this.#sessions, journal.session.id, !isNew) }
  }

  release(session: FileSession): void {
    releaseFiles(session)
  }

  append(session: FileSession, body: Body, options: AppendOptions): Promise<FileSession> {
    return append(this.#disk, session, body, options)
  }

  async accept({ journal, received }: FileSession, decision: Decision): Promise<void> {
    const durable = this.#isDurable
    // First the names of data file, journal and reply: after a loss of power the entry must not exist without
    // them.
    if (durable) await syncDirectory(this.#fs, this.#sessions.path)
    await journal.append({ accepted: decision, ...(durable && { synced: received }) }, durable)
  }

  async reject({ journal, dataFile }: FileSession, reason: string): Promise<void> {
    await journal.append({ rejected: reason }, this.#isDurable)
    if (this.#isDurable) await syncDirectory(this.#fs, this.#sessions.path)
    await dataFile.remove()
  }

  async publish(session: FileSession): Promise<void> {
    const { journal, dataFile } = session
    if (session.state === 'published' || journal.state.published) return
    const durable = this.#isDurable
    try {
      // It becomes the published file, and is not written to again.
      const closed = dataFile.descriptor.close()
      // NTFS may set the times of a file when it is closed, and the intent contains them.
      if (process.platform === 'win32') await closed
      if (journal.state.publishing) await dataFile.forgetPublishing()
      const { boot } = this.#disk
      if (!sameBoot(journal.state.boot, boot)) await journal.append({ boot, synced: session.received })
      await publishFile(this.#fs, this.#directories, session, dataFile.paths, {
        file: dataFile,
        durable,
        syncNames: (folder) => (durable ? this.#directorySyncer.sync(folder) : Promise.resolve()),
        save: (publishing) => journal.append({ publishing }),
        beforeCopy: () => journal.append({ copying: true }),
      })
      const { copying: isCopied = false, publishing } = journal.state
      const isMoved =
        publishing === 'done' ||
        (typeof publishing === 'object' && publishing?.step === 'rename' && publishing.source === 'data')
      // Only after the name is durable, because `load` trusts this entry. The entry of a linked file is not
      // synced: after a loss of power the link of the data file shows that the file was published.
      await journal.append({ published: true }, (isCopied || isMoved) && durable)
      if (!isCopied) return
      // A copy is not a link: data file and published file would use twice the space.
      await dataFile.remove()
      await orAbsent(this.#fs.unlink(temporaryCopyPath(this.#directories, session)))
    } catch (error) {
      releaseFiles(session)
      throw translate(error)
    }
  }

  read({ dataFile }: FileSession) {
    return this.#fs.createReadStream(dataFile.path)
  }

  paths({ dataFile, reply }: FileSession): SessionPaths {
    return { upload: dataFile.path, reply: reply.path }
  }

  async saveReply({ reply }: FileSession, body?: Body, { signal }: StoreOptions = {}): Promise<void> {
    try {
      // The name of the file is synced by `accept`.
      await reply.write(body, { durable: this.#isDurable, signal })
    } catch (error) {
      throw translate(error)
    }
  }

  loadReply({ reply }: FileSession): Promise<StoredReply | undefined> {
    return reply.load()
  }

  async remove(session: FileSession): Promise<void> {
    const { journal, dataFile, reply } = session
    if (journal.state.copying) await orAbsent(this.#fs.unlink(temporaryCopyPath(this.#directories, session)))
    if (session.overwrite) await orAbsent(this.#fs.unlink(dataFile.paths.out))
    await dataFile.remove()
    await reply.remove()
    // The journal last: while it exists, a sweep finds the other files and removes them.
    await journal.remove()
  }

  list(options?: ListOptions): AsyncIterable<FileSession> {
    return listSessions(this.#fs, this.#sessions.path, (id) => this.load(id), options)
  }

  get #isDurable(): boolean {
    return this.#disk.durability !== 'none'
  }
}

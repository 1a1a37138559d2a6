import type { Locker } from '../../locks/locker.ts'
import { isFinal, stateOf } from '../state.ts'
import type {
  AppendOptions,
  Body,
  Decision,
  NewSession,
  Session,
  SessionPaths,
  Store,
  StoredReply,
  StoreOptions,
} from '../store.ts'
import { append, type Disk, type Durability } from './append.ts'
import { DirectorySyncer } from './directory-sync.ts'
import {
  errno,
  type FileSystem,
  makeDirectory,
  orAbsent,
  sameBoot,
  syncDirectory,
  translate,
} from './file-system.ts'
import { SessionJournal } from './journal.ts'
import { listSessions } from './list.ts'
import { DataFile } from './part.ts'
import { checkDestination, type Directories, publishFile, temporaryCopyPath } from './publish.ts'
import { ReplyFile } from './reply-file.ts'
import { SessionDirectory } from './session-directory.ts'
import { FileSession, releaseFiles, type SessionFiles, type SessionProgress } from './session-files.ts'

/** See {@link fileStore}. */
export class FileStore implements Store {
  readonly locker: Locker
  readonly #directories: Directories
  readonly #sessions: SessionDirectory
  readonly #fs: FileSystem
  readonly #syncs: DirectorySyncer
  readonly #disk: Disk

  constructor(directories: Directories, fs: FileSystem, durability: Durability, locker: Locker) {
    this.locker = locker
    this.#directories = directories
    this.#sessions = new SessionDirectory(fs, directories.sessions)
    this.#fs = fs
    this.#syncs = new DirectorySyncer(fs)
    this.#disk = { fs, durability, boot: fs.boot() }
  }

  async create(session: NewSession): Promise<FileSession> {
    await checkDestination(this.#fs, this.#directories, session)
    const begin = () => SessionJournal.begin(this.#sessions, session, { boot: this.#disk.boot })
    try {
      const record = await begin().catch(async (error) => {
        if (errno(error) !== 'ENOENT') throw error
        const durable = this.#isDurable
        await makeDirectory(this.#fs, this.#directories.root, { durable })
        // What is on its way is nobody's to read.
        await makeDirectory(this.#fs, this.#sessions.path, { durable, mode: 0o700 })
        return begin()
      })
      const now: SessionProgress = {
        state: 'receiving',
        received: 0,
        total: undefined,
        updatedAt: session.created,
        decision: undefined,
        rejection: undefined,
      }
      return new FileSession(session, now, this.#filesOf(record, { isNew: true }))
    } catch (error) {
      throw translate(error)
    }
  }

  async load(id: string): Promise<FileSession | undefined> {
    const [record, found] = await Promise.all([
      SessionJournal.read(this.#sessions, id),
      orAbsent(this.#fs.stat(this.#sessions.pathOf(id, 'part'))),
    ])
    if (!record) return undefined
    const { session, state: facts } = record
    const updatedAt = found ?? (await orAbsent(this.#fs.stat(this.#sessions.pathOf(id, 'json'))))
    // Removed since it was read.
    if (!updatedAt) return undefined
    const held = found?.size ?? 0
    // Written under an earlier boot and not synced, or its sync failed: perhaps on disk, perhaps a hole. A part with a
    // second name was synced, and was being published, or had been: it is the file itself, and must not be written to.
    const isSure = sameBoot(facts.boot, this.#disk.boot) || (found !== undefined && found.nlink > 1)
    const sure = isSure ? held : Math.min(held, facts.synced ?? 0)
    // Its publisher died before it was noted, see `AppendOptions.publishes`. Not after a loss of power, which may take notes.
    const isPlaced = sameBoot(facts.boot, this.#disk.boot) && found !== undefined && found.nlink > 1
    const total = facts.total ?? (isPlaced ? held : undefined)
    const now: SessionProgress = {
      state: stateOf(facts, found && sure),
      received: isFinal(facts) ? (facts.total ?? 0) : sure,
      total,
      updatedAt: updatedAt.mtimeMs,
      decision: facts.accepted ?? undefined,
      rejection: facts.rejected,
    }
    return new FileSession(session, now, this.#filesOf(record, { isNew: false }))
  }

  #filesOf(record: SessionJournal, { isNew }: { isNew: boolean }): SessionFiles {
    const part = new DataFile(this.#sessions, record)
    return { record, part, reply: new ReplyFile(this.#sessions, record.session.id, !isNew) }
  }

  release(session: Session): void {
    releaseFiles(session as FileSession)
  }

  append(session: Session, body: Body, options: AppendOptions): Promise<Session> {
    return append(this.#disk, session as FileSession, body, options)
  }

  async accept(session: Session, decision: Decision): Promise<void> {
    const durable = this.#isDurable
    // First the names, of part, record and reply: the fact must not outlive what it speaks of.
    if (durable) await syncDirectory(this.#fs, this.#sessions.path)
    const synced = durable && { synced: session.received }
    await (session as FileSession).record.append({ accepted: decision, ...synced }, durable)
  }

  async reject(session: Session, reason: string): Promise<void> {
    const { record, part } = session as FileSession
    await record.append({ rejected: reason }, this.#isDurable)
    if (this.#isDurable) await syncDirectory(this.#fs, this.#sessions.path)
    await part.remove()
  }

  async publish(session: Session): Promise<void> {
    if (session.state === 'published') return
    const { record, part } = session as FileSession
    const durable = this.#isDurable
    let copied = false
    const beforeCopy = async (): Promise<void> => {
      copied = true
      await record.append({ copying: true })
    }
    try {
      // It becomes the file itself, and is not written to any more.
      part.file.close()
      const { replacementLink: spare } = part
      await publishFile(this.#fs, this.#directories, session, part.file.path, {
        linkPath: spare,
        durable,
        syncNames: (folder) => (durable ? this.#syncs.sync(folder) : Promise.resolve()),
        beforeCopy,
      })
      // Not before the name is durable: who reads this trusts it. The part stays until the session ends: this fact is
      // not synced, and after a loss of power the part tells as much.
      await record.append({ total: session.received, published: true }, copied && durable)
      if (!copied) return
      // A copy is no second name: part and file would take twice the space.
      await part.remove()
      await orAbsent(this.#fs.unlink(temporaryCopyPath(this.#directories, session)))
    } catch (error) {
      // It was to be noted with the publication.
      if (record.state.total === undefined) await record.append({ total: session.received }).catch(() => {})
      releaseFiles(session as FileSession)
      throw translate(error)
    }
  }

  read(session: Session) {
    return this.#fs.createReadStream((session as FileSession).part.file.path)
  }

  paths(session: Session): SessionPaths {
    const { part, reply } = session as FileSession
    return { upload: part.file.path, reply: reply.path }
  }

  async saveReply(session: Session, body?: Body, { signal }: StoreOptions = {}): Promise<void> {
    const { reply } = session as FileSession
    // Its name is made durable by accept().
    await reply.keep(body, { durable: this.#isDurable, signal }).catch((error) => {
      throw translate(error)
    })
  }

  loadReply(session: Session): Promise<StoredReply | undefined> {
    return (session as FileSession).reply.load()
  }

  async remove(session: Session): Promise<void> {
    const { record, part, reply } = session as FileSession
    // The record last: as long as it stands, the rest will be found and removed.
    if (record.state.copying) await orAbsent(this.#fs.unlink(temporaryCopyPath(this.#directories, session)))
    if (session.overwrite) await orAbsent(this.#fs.unlink(part.replacementLink))
    await part.remove()
    const replyRemoved = reply.remove()
    if (replyRemoved) await replyRemoved
    await record.remove()
  }

  list(): AsyncIterable<Session> {
    return listSessions(this.#fs, this.#sessions.path, (id) => this.load(id))
  }

  get #isDurable(): boolean {
    return this.#disk.durability !== 'none'
  }
}

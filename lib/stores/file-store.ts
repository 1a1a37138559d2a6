import { constants } from 'node:fs'
import { join } from 'node:path'
import type { Locker } from '../locks/locker.ts'
import { readGuid } from '../protocol/guid.ts'
import { sameBoot } from './boot.ts'
import { checkDestination, type Directories, placeAtDestination, strayCopy } from './destination.ts'
import {
  errno,
  type FileSystem,
  makeDirectory,
  orAbsent,
  syncDirectory,
  translate,
  withFile,
} from './file-system.ts'
import { Parts } from './part.ts'
import { type Record, Records } from './record.ts'
import { Replies } from './replies.ts'
import { isSettled, isSpent, stateOf } from './state.ts'
import type {
  Acceptance,
  AppendOptions,
  Body,
  KeptReply,
  NewSession,
  Session,
  SessionPaths,
  Store,
  StoreOptions,
} from './store.ts'

/** See {@link FileStoreOptions.durability}. */
export type Durability = 'file' | 'fragment' | 'none'

/** A session with what only this store needs to know. */
interface FileSession extends Session {
  readonly record: Record
}

/** Record, part, a second name of the part, and reply. */
const kinds = ['json', 'part', 'out', 'reply']

/** What a crash left in the sessions' directory is cleared away when it is this old, in milliseconds. */
const LitterAge = 60 * 1000

/** See {@link fileStore}. */
export class FileStore implements Store {
  readonly locker: Locker
  readonly #directories: Directories
  readonly #fs: FileSystem
  readonly #records: Records
  readonly #parts: Parts
  readonly #replies: Replies
  readonly #durability: Durability
  readonly #boot: string

  constructor(directories: Directories, fs: FileSystem, durability: Durability, locker: Locker) {
    this.locker = locker
    this.#directories = directories
    this.#fs = fs
    this.#records = new Records(fs, directories.sessions)
    this.#parts = new Parts(fs, directories.sessions, this.#records)
    this.#replies = new Replies(fs, directories.sessions)
    this.#durability = durability
    this.#boot = fs.boot()
  }

  async create(session: NewSession): Promise<void> {
    await checkDestination(this.#fs, this.#directories, session)
    const begin = () => this.#records.begin(session, this.#boot)
    try {
      await begin().catch(async (error) => {
        if (errno(error) !== 'ENOENT') throw error
        const durable = this.#isDurable
        await makeDirectory(this.#fs, this.#directories.root, { durable })
        // What is on its way is nobody's to read.
        await makeDirectory(this.#fs, this.#directories.sessions, { durable, mode: 0o700 })
        await begin()
      })
    } catch (error) {
      throw translate(error)
    }
  }

  async load(id: string): Promise<FileSession | undefined> {
    const [record, part] = await Promise.all([
      this.#records.read(id),
      orAbsent(this.#fs.stat(this.#parts.path(id))),
    ])
    if (!record) return undefined
    const { session, facts } = record
    const progressed = part ?? (await orAbsent(this.#fs.stat(this.#records.path(id))))
    // Removed since it was read.
    if (!progressed) return undefined
    const held = part?.size ?? 0
    // Written under an earlier boot and not synced: perhaps on disk, perhaps a hole. A part with a second name was synced,
    // and was being published, or had been: it is the file itself, and must not be written to.
    const isSure = sameBoot(facts.boot, this.#boot) || (part !== undefined && part.nlink > 1)
    const sure = isSure ? held : Math.min(held, facts.synced ?? 0)
    return {
      ...session,
      state: stateOf(facts, part && sure),
      received: isSettled(facts) ? (facts.total ?? 0) : sure,
      ...(facts.total !== undefined && { total: facts.total }),
      progressed: progressed.mtimeMs,
      ...(facts.accepted && { acceptance: facts.accepted }),
      ...(facts.refused !== undefined && { refusal: facts.refused }),
      record,
    }
  }

  async append(session: Session, body: Body, { total, durable, signal }: AppendOptions): Promise<Session> {
    const { id } = session
    try {
      if (session.total === undefined) await this.#records.note(id, { total })
      if (session.state === 'gone') await this.#records.note(id, { accepted: null, synced: 0 })
      // Made by the first append only: if it is gone later, the session was removed, and must not come back.
      const begins = session.total === undefined || session.state === 'gone'
      const flags = constants.O_WRONLY | (begins ? constants.O_CREAT : 0)
      const received = await withFile(this.#fs, this.#parts.path(id), flags, async (fd) => {
        const sure = await this.#settle(fd, session as FileSession)
        const begin = { end: session.received, synced: this.#isDurable ? sure : undefined, signal }
        const { end, synced = 0 } = await this.#parts.write(fd, id, body, begin)
        if (end === session.received) await this.#fs.futimes(fd, new Date(), new Date())
        if (this.#durability === 'fragment') await this.#parts.mark(fd, id, end, synced)
        else if (durable && this.#durability === 'file') await this.#fs.fdatasync(fd)
        return end
      })
      const now = { ...session, received, total, progressed: Date.now() }
      if (session.state !== 'gone') return now
      // What vanished was accepted, not what came in its place.
      const { acceptance: _, ...anew } = now
      return { ...anew, state: 'receiving' }
    } catch (error) {
      throw translate(error)
    }
  }

  /** What was written under an earlier boot and is not surely there is cut off. Resolves to what is. */
  async #settle(fd: number, { id, received, record }: FileSession): Promise<number> {
    const { boot, synced = 0 } = record.facts
    if (sameBoot(boot, this.#boot)) return synced
    await this.#fs.ftruncate(fd, received)
    await this.#records.note(id, { boot: this.#boot, synced: received })
    return received
  }

  async accept({ id, received }: Session, acceptance: Acceptance): Promise<void> {
    const durable = this.#isDurable
    // First the names, of part, record and reply: the fact must not outlive what it speaks of.
    if (durable) await syncDirectory(this.#fs, this.#directories.sessions)
    await this.#records.note(id, { accepted: acceptance, ...(durable && { synced: received }) }, durable)
  }

  async refuse({ id }: Session, reason: string): Promise<void> {
    await this.#records.note(id, { refused: reason }, this.#isDurable)
    if (this.#isDurable) await syncDirectory(this.#fs, this.#directories.sessions)
    await this.#parts.remove(id)
  }

  async publish(session: Session): Promise<void> {
    if (session.state === 'published') return
    const { id } = session
    const part = this.#parts.path(id)
    const durable = this.#isDurable
    let copied = false
    const beforeCopy = async (): Promise<void> => {
      copied = true
      await this.#records.note(id, { copying: true })
    }
    try {
      const spare = this.#parts.spare(id)
      await placeAtDestination(this.#fs, this.#directories, session, part, { spare, durable, beforeCopy })
      // Not before the name is durable: who reads this trusts it. The part stays until the session ends: this fact is
      // not synced, and after a loss of power the part tells as much.
      await this.#records.note(id, { published: true }, copied && durable)
      if (!copied) return
      // A copy is no second name: part and file would take twice the space.
      await this.#parts.remove(id)
      await orAbsent(this.#fs.unlink(strayCopy(this.#directories, session)))
    } catch (error) {
      throw translate(error)
    }
  }

  read(session: Session) {
    return this.#fs.createReadStream(this.#parts.path(session.id))
  }

  paths({ id }: Session): SessionPaths {
    return { upload: this.#parts.path(id), reply: this.#replies.path(id) }
  }

  async keepReply({ id }: Session, body?: Body, { signal }: StoreOptions = {}): Promise<void> {
    // Its name is made durable by accept().
    await this.#replies.keep(id, body, { durable: this.#isDurable, signal }).catch((error) => {
      throw translate(error)
    })
  }

  loadReply({ id }: Session): Promise<KeptReply | undefined> {
    return this.#replies.load(id)
  }

  async remove(session: Session): Promise<void> {
    const { id, record } = session as FileSession
    // The record last: as long as it stands, the rest will be found and removed.
    if (record.facts.copying) await orAbsent(this.#fs.unlink(strayCopy(this.#directories, session)))
    if (session.overwrite) await orAbsent(this.#fs.unlink(this.#parts.spare(id)))
    await this.#parts.remove(id)
    // Also where none was accepted: an earlier try may have left one.
    await this.#replies.remove(id)
    await this.#records.remove(id)
  }

  async *list(): AsyncIterable<Session> {
    const directory = await orAbsent(this.#fs.opendir(this.#directories.sessions))
    if (!directory) return
    let failure: unknown
    for await (const { name } of directory) {
      const [id, kind] = name.split('.', 2) as [string, string?]
      if (readGuid(id) !== id || !kinds.includes(kind ?? '')) continue
      try {
        const session = await this.load(id)
        if (!session || (isPart(kind) && isSpent(session)))
          await this.#clear(join(this.#directories.sessions, name))
        else if (kind === 'json') yield session
      } catch (error) {
        // One record that cannot be read must not hide the others.
        failure ??= error
      }
    }
    if (failure) throw failure
  }

  /** Removes what has no record, a part of a published or refused file, or a torn record: nobody needs it any more. */
  async #clear(path: string): Promise<void> {
    const found = await orAbsent(this.#fs.stat(path))
    if (found && Date.now() - found.mtimeMs > LitterAge) await orAbsent(this.#fs.unlink(path))
  }

  get #isDurable(): boolean {
    return this.#durability !== 'none'
  }
}

const isPart = (kind: string | undefined): boolean => kind === 'part' || kind === 'out'

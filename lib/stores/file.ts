import { constants } from 'node:fs'
import { join, resolve } from 'node:path'
import { BitsError } from '../protocol/errors.ts'
import { readGuid } from '../protocol/guid.ts'
import { currentBoot, sameBoot } from './boot.ts'
import { dropBytes } from './chunks.ts'
import { checkDestination, type Directories, moveToDestination, strayCopy } from './destination.ts'
import { errno, type FileSystem, nodeFileSystem, orAbsent, syncDirectory, withFile } from './file-system.ts'
import { type Facts, factLine, firstLine, type Record, readRecord } from './record.ts'
import type { AppendOptions, Body, NewSession, Session, SessionState, Store } from './store.ts'

/** Options of {@link fileStore}. */
export interface FileStoreOptions {
  /**
   * Where unfinished uploads rest. Default: `.bits-sessions` below the store's directory. IIS: BITSSessionDirectory.
   * On another file system than the files, publishing has to copy.
   */
  readonly sessionDirectory?: string
  /** The calls to the file system. Default: those of `node:fs`. For tests: a disk that fails. */
  readonly fileSystem?: FileSystem
}

/** A session with what only this store needs to know. */
interface FileSession extends Session {
  readonly record: Record
}

/** Bytes after which an unfinished upload is synced, so that a loss of power costs the client no more than these. */
const SyncEvery = 64 * 1024 * 1024

/** What a crash left in the sessions' directory is cleared away when it is this old, in milliseconds. */
const LitterAge = 60 * 1000

/**
 * Keeps uploads in one directory: `<directory>/<name>` is a finished file, `<directory>/.bits-sessions/` holds all else,
 * two files a session, flat: `{GUID}.json`, its record, and `{GUID}.part`, its bytes. The part's length is the
 * progress. The directory is made when the first session begins; folders below it are never made.
 *
 * @param directory relative to the working directory
 * @throws {TypeError} if `directory` is no path
 */
export function fileStore(directory: string, options: FileStoreOptions = {}): Store {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw new TypeError('fileStore: the first argument is the directory that uploads go to')
  }
  const root = resolve(directory)
  const directories: Directories = {
    root,
    sessions: resolve(options.sessionDirectory ?? join(root, '.bits-sessions')),
  }
  return new FileStore(directories, options.fileSystem ?? nodeFileSystem)
}

class FileStore implements Store {
  readonly #directories: Directories
  readonly #fs: FileSystem
  readonly #boot = currentBoot()

  constructor(directories: Directories, fs: FileSystem) {
    this.#directories = directories
    this.#fs = fs
  }

  async create(session: NewSession): Promise<void> {
    await checkDestination(this.#fs, this.#directories, session)
    const record = this.#record(session.id)
    const begin = () =>
      withFile(this.#fs, record, 'wx', (fd) => this.#fs.write(fd, firstLine(session, this.#boot)))
    try {
      await begin().catch(async (error) => {
        if (errno(error) !== 'ENOENT') throw error
        await this.#fs.mkdir(this.#directories.root, { recursive: true })
        // What is on its way is nobody's to read.
        await this.#fs.mkdir(this.#directories.sessions, { recursive: true, mode: 0o700 })
        await begin()
      })
    } catch (error) {
      if (errno(error) !== 'EEXIST') await orAbsent(this.#fs.unlink(record)).catch(() => {})
      throw translate(error)
    }
  }

  async load(id: string): Promise<FileSession | undefined> {
    const [text, part] = await Promise.all([
      orAbsent(this.#fs.readFile(this.#record(id), 'utf8')),
      orAbsent(this.#fs.stat(this.#part(id))),
    ])
    const record = text === undefined ? undefined : readRecord(text)
    if (!record) return undefined
    const { session, facts } = record
    const { mtimeMs } = part ?? (await this.#fs.stat(this.#record(id)))
    const state = stateOf(record, part !== undefined)
    const held = part?.size ?? 0
    // Written under an earlier boot and not synced: perhaps on disk, perhaps a hole.
    const sure = sameBoot(facts.boot, this.#boot) ? held : Math.min(held, facts.synced ?? 0)
    return {
      ...session,
      state,
      received: state === 'published' ? (facts.total ?? 0) : sure,
      ...(facts.total !== undefined && { total: facts.total }),
      progressed: mtimeMs,
      record,
    }
  }

  async append(session: Session, body: Body, { total, durable }: AppendOptions): Promise<Session> {
    const { id } = session
    try {
      if (session.total === undefined) await this.#note(id, { total })
      if (session.state === 'gone') await this.#note(id, { accepted: false, synced: 0 })
      // Made by the first append only: if it is gone later, the session was removed, and must not come back.
      const begins = session.total === undefined || session.state === 'gone'
      const flags = constants.O_WRONLY | (begins ? constants.O_CREAT : 0)
      const received = await withFile(this.#fs, this.#part(id), flags, async (fd) => {
        const end = await this.#write(fd, session as FileSession, body)
        if (end === session.received) await this.#fs.futimes(fd, new Date(), new Date())
        if (durable) await this.#fs.fdatasync(fd)
        return end
      })
      return { ...session, state: session.state === 'gone' ? 'receiving' : session.state, received, total }
    } catch (error) {
      throw translate(error)
    }
  }

  /** Writes batch after batch, one write in flight, and syncs now and then. Resolves to the new length. */
  async #write(fd: number, { id, received, record }: FileSession, body: Body): Promise<number> {
    const fs = this.#fs
    let { boot, synced = 0 } = record.facts
    if (!sameBoot(boot, this.#boot)) {
      await fs.ftruncate(fd, received)
      boot = this.#boot
      synced = received
      await this.#note(id, { boot, synced })
    }
    let position = received
    for await (const chunks of body) {
      position = await writeAll(fs, fd, chunks, position)
      if (position - synced < SyncEvery) continue
      await fs.fdatasync(fd)
      if (synced === 0) await syncDirectory(fs, this.#directories.sessions)
      synced = position
      await this.#note(id, { synced }, true)
    }
    return position
  }

  async accept(session: Session): Promise<void> {
    await this.#note(session.id, { accepted: true, synced: session.received }, true)
    await syncDirectory(this.#fs, this.#directories.sessions)
  }

  async publish(session: Session): Promise<void> {
    if (session.state === 'published') return
    const { id, received } = session
    try {
      await this.#note(id, { publishing: true, synced: received })
      await moveToDestination(this.#fs, this.#directories, session, this.#part(id), () =>
        this.#note(id, { copying: true }),
      )
    } catch (error) {
      throw translate(error)
    }
  }

  read(session: Session) {
    return this.#fs.createReadStream(this.#part(session.id))
  }

  async remove(session: Session): Promise<void> {
    const { id, record } = session as FileSession
    // The record last: as long as it stands, the rest will be found and removed.
    if (record.facts.copying) await orAbsent(this.#fs.unlink(strayCopy(this.#directories, session)))
    await orAbsent(this.#fs.unlink(this.#part(id)))
    await orAbsent(this.#fs.unlink(this.#record(id)))
  }

  async *list(): AsyncIterable<Session> {
    const directory = await orAbsent(this.#fs.opendir(this.#directories.sessions))
    if (!directory) return
    for await (const { name } of directory) {
      const [id, kind] = name.split('.', 2) as [string, string?]
      if (readGuid(id) !== id || (kind !== 'json' && kind !== 'part')) continue
      const session = await this.load(id)
      if (!session) await this.#clear(join(this.#directories.sessions, name))
      else if (kind === 'json') yield session
    }
  }

  /** Removes a part without a record, or a torn record: nobody can ask for it any more. */
  async #clear(path: string): Promise<void> {
    const found = await orAbsent(this.#fs.stat(path))
    if (found && Date.now() - found.mtimeMs > LitterAge) await orAbsent(this.#fs.unlink(path))
  }

  #record(id: string): string {
    return join(this.#directories.sessions, `${id}.json`)
  }

  #part(id: string): string {
    return join(this.#directories.sessions, `${id}.part`)
  }

  /** Adds a fact to a record that exists; a removed session's must not come back. */
  async #note(id: string, facts: Facts, durable = false): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_APPEND
    await withFile(this.#fs, this.#record(id), flags, async (fd) => {
      await this.#fs.write(fd, factLine(facts))
      if (durable) await this.#fs.fdatasync(fd)
    })
  }
}

function stateOf({ facts }: Record, partExists: boolean): SessionState {
  if (!partExists && facts.publishing) return 'published'
  if (!partExists && facts.total !== undefined) return 'gone'
  return facts.accepted ? 'accepted' : 'receiving'
}

async function writeAll(
  fs: FileSystem,
  fd: number,
  chunks: readonly Uint8Array[],
  position: number,
): Promise<number> {
  let rest = chunks
  let at = position
  for (;;) {
    const written = await fs.writev(fd, rest, at)
    at += written
    // A disk that is almost full takes less than it is given, and says why only when it is asked again.
    rest = dropBytes(rest, written)
    if (rest.length === 0) return at
  }
}

/** Gives a system error the meaning that the protocol has a word for. */
function translate(error: unknown): unknown {
  switch (errno(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new BitsError('disk-full', undefined, { cause: error })
    case 'EFBIG':
      return new BitsError('too-large', undefined, { cause: error })
    default:
      return error
  }
}

import { constants } from 'node:fs'
import { type AppendOptions, type Body, byteLength } from '../store.ts'
import { type FileSystem, sameBoot, translate, writeAll } from './file-system.ts'
import { FileSession, releaseFiles, type SessionProgress } from './session-files.ts'

/**
 * Largest file in bytes whose journal stays open during its last fragment, because publishing soon appends to
 * it.
 */
const SmallFileBytes = 1024 * 1024

/** Bytes after which an unfinished upload is synced. A loss of power costs the client at most these. */
const SyncEveryBytes = 64 * 1024 * 1024

/** What survives a loss of power: see {@link FileStoreOptions.durability}. */
export type Durability = 'file' | 'fragment' | 'none'

/** The settings of the store that an append needs. */
export interface Disk {
  readonly fs: FileSystem
  readonly durability: Durability
  readonly boot: string
}

/**
 * See `Store.append`. This function holds few variables, because it waits for the bytes of the client,
 * possibly for hours and for thousands of clients.
 */
export async function append(
  disk: Disk,
  session: FileSession,
  body: Body,
  options: AppendOptions,
): Promise<FileSession> {
  if (session.dataFile.isVisible) return appendNothing(session, body, options.total)
  const operation = new AppendOperation(disk, session, options)
  try {
    // One write at a time.
    for await (const chunks of body) await operation.write(chunks)
    return await operation.finish()
  } catch (error) {
    releaseFiles(session)
    throw translate(error)
  } finally {
    operation.release()
  }
}

/** For a file that holds all bytes and is visible under its name: it must not be changed. */
async function appendNothing(session: FileSession, body: Body, total: number): Promise<FileSession> {
  if (session.total === undefined) await session.journal.append({ total })
  // Its held bytes were skipped.
  for await (const _ of body);
  return withProgress(session, total, session.received)
}

/** One append. It opens the data file when the first bytes are there. */
class AppendOperation {
  readonly #disk: Disk
  readonly #session: FileSession
  readonly #options: AppendOptions
  #fd = -1
  #isAcquired = false
  /** Whether the data file is open with `O_DSYNC`. */
  #isWriteSynced = false
  #end: number
  #synced = 0

  constructor(disk: Disk, session: FileSession, options: AppendOptions) {
    this.#disk = disk
    this.#session = session
    this.#options = options
    this.#end = session.received
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.#isAcquired) await this.#acquire(chunks)
    const { fs, durability } = this.#disk
    const written = writeAll(fs, this.#fd, chunks, this.#end)
    this.#end = await (this.#isWriteSynced ? this.#discardOnFailure(written) : written)
    if (durability !== 'none' && this.#end - this.#synced >= SyncEveryBytes) await this.#checkpoint()
  }

  /** Updates the modification time, and syncs what `durability` requires. */
  async finish(): Promise<FileSession> {
    if (!this.#isAcquired) await this.#acquire([])
    const { fs, durability } = this.#disk
    const session = this.#session
    const { total, durable } = this.#options
    session.dataFile.lastWrite = performance.now()
    if (this.#end === session.received) await fs.futimes(this.#fd, new Date(), new Date())
    if (durability === 'fragment') await this.#checkpoint()
    else if (durability === 'file' && durable && !this.#isWriteSynced) await this.#sync()
    return withProgress(session, total, this.#end)
  }

  /** Must be called at the end, also after an error. */
  release(): void {
    if (this.#isAcquired) this.#session.dataFile.descriptor.release()
  }

  /** Opens the data file for the first batch. */
  async #acquire(batch: readonly Uint8Array[]): Promise<void> {
    const session = this.#session
    const { journal, dataFile } = session
    const { total, durable, signal } = this.#options
    const wasOpen = dataFile.descriptor.isOpen
    // A file that is open was opened without O_DSYNC.
    this.#isWriteSynced = !wasOpen && isSingleWrite(this.#disk, this.#options, batch)
    // Before the data file is created: this fails if the session was removed, which must not come back.
    if (session.total === undefined) await journal.append({ total })
    // Durable, because the old value of `synced` must not apply to the new bytes after a loss of power.
    const isDurable = this.#disk.durability !== 'none'
    if (session.state === 'lost') await journal.append({ accepted: null, synced: 0 }, isDurable)
    if (journal.state.publishing) await dataFile.forgetPublishing()
    // After its timeout an append must not create the file, truncate or write: the client has got an error.
    signal?.throwIfAborted()
    const flags = openFlags(session, this.#isWriteSynced)
    if (dataFile.mustReplace) await dataFile.remove()
    this.#isAcquired = true
    this.#fd = await dataFile.descriptor.acquire(flags)
    dataFile.mustReplace = false
    if (wasOpen) await dataFile.verify(this.#fd, session.received)
    signal?.throwIfAborted()
    const { boot, synced = 0 } = journal.state
    const isTrusted = sameBoot(boot, this.#disk.boot)
    this.#synced = isTrusted ? synced : await truncateToDurable(this.#disk, this.#fd, session)
    signal?.throwIfAborted()
    const wasJournaled = session.total === undefined || session.state === 'lost' || !isTrusted
    if (wasJournaled && (!durable || total > SmallFileBytes)) journal.close()
  }

  async #checkpoint(): Promise<void> {
    await this.#sync()
    await this.#session.dataFile.checkpoint(this.#end, this.#synced)
    // The next checkpoint is 64 MiB away, or it is at the next fragment.
    if (this.#disk.durability !== 'fragment') this.#session.journal.close()
    this.#synced = this.#end
  }

  #sync(): Promise<void> {
    return this.#discardOnFailure(this.#disk.fs.fdatasync(this.#fd))
  }

  /**
   * After a failed sync the client must send the bytes again: the kernel reports an error once, and the next
   * sync may succeed although the same bytes are not on disk.
   */
  async #discardOnFailure<T>(sync: Promise<T>): Promise<T> {
    try {
      return await sync
    } catch (error) {
      // After its timeout an append must not truncate.
      const mayTruncate = !this.#options.signal?.aborted
      await this.#session.dataFile.discardUnsynced(this.#fd, this.#synced, mayTruncate)
      throw error
    }
  }
}

/**
 * Whether the first batch is the whole file. Then it is written with `O_DSYNC`: the write is also the sync,
 * which saves a tenth of the time of a file of 1 KiB. On Linux only: on other systems the flag guarantees
 * less than a sync, or does not exist.
 */
const isSingleWrite = (
  { durability }: Disk,
  { total, durable }: AppendOptions,
  batch: readonly Uint8Array[],
): boolean =>
  durable && durability === 'file' && process.platform === 'linux' && total > 0 && byteLength(batch) === total

function openFlags({ total, received, state, dataFile }: FileSession, isWriteSynced: boolean): number {
  // Only the first append creates the data file. If it is missing later, the session was removed, and must
  // not come back.
  const isFirst = (total === undefined && received === 0) || state === 'lost' || dataFile.mustReplace
  return constants.O_WRONLY | (isFirst ? constants.O_CREAT : 0) | (isWriteSynced ? constants.O_DSYNC : 0)
}

/** The session with all bytes up to `end`. */
function withProgress(session: FileSession, total: number, end: number): FileSession {
  // The decision was about the lost bytes, not about those that replace them.
  const wasLost = session.state === 'lost'
  const progress: SessionProgress = {
    state: wasLost ? 'receiving' : session.state,
    received: end,
    total,
    updatedAt: Date.now(),
    decision: wasLost ? undefined : session.decision,
    rejection: undefined,
  }
  return new FileSession(session, progress, session)
}

/**
 * Truncates bytes that were written under an earlier boot, or whose sync failed. Resolves to the number of
 * bytes that are durable.
 */
async function truncateToDurable(
  { fs, boot, durability }: Disk,
  fd: number,
  { received, journal }: FileSession,
): Promise<number> {
  await fs.ftruncate(fd, received)
  await journal.append({ boot, synced: received }, durability !== 'none')
  return received
}

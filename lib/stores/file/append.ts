import { constants } from 'node:fs'
import { byteLength } from '../chunks.ts'
import type { AppendOptions, Body, Session } from '../store.ts'
import { type FileSystem, sameBoot, translate, writeAll } from './file-system.ts'
import { closesQuickly } from './session-directory.ts'
import { FileSession, releaseFiles, type SessionProgress } from './session-files.ts'

/** Bytes of a file that comes whole, and soon. */
const SmallFileBytes = 1024 * 1024

/** Bytes after which an unfinished upload is synced, so that a loss of power costs the client no more than these. */
const SyncEvery = 64 * 1024 * 1024

/** See {@link FileStoreOptions.durability}. */
export type Durability = 'file' | 'fragment' | 'none'

/** What an append needs to know of its store. */
export interface Disk {
  readonly fs: FileSystem
  readonly durability: Durability
  readonly boot: string
}

/** In the place of a boot, for bytes whose sync failed: they are believed under none. */
const UntrustedBoot = 'distrusted'

/** See `Store.append`. Small, for it waits for the client's bytes: thousands may wait for hours. */
export async function append(
  disk: Disk,
  session: FileSession,
  body: Body,
  options: AppendOptions,
): Promise<Session> {
  const appending = new AppendOperation(disk, session, options)
  try {
    // One write in flight.
    for await (const chunks of body) await appending.write(chunks)
    return await appending.finish()
  } catch (error) {
    releaseFiles(session)
    throw translate(error)
  } finally {
    appending.release()
  }
}

/** An append under way. It opens nothing before the first bytes are here. */
class AppendOperation {
  readonly #disk: Disk
  readonly #session: FileSession
  readonly #options: AppendOptions
  #fd = -1
  #isEntered = false
  /** Whether the one write syncs what it writes. */
  #isWrittenThrough = false
  #end: number
  #synced = 0

  constructor(disk: Disk, session: FileSession, options: AppendOptions) {
    this.#disk = disk
    this.#session = session
    this.#options = options
    this.#end = session.received
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (!this.#isEntered) await this.#enter(byteLength(chunks))
    const { fs, durability } = this.#disk
    const written = writeAll(fs, this.#fd, chunks, this.#end)
    this.#end = await (this.#isWrittenThrough ? this.#distrustOnFailure(written) : written)
    if (durability !== 'none' && this.#end - this.#synced >= SyncEvery) await this.#checkpoint()
  }

  /** Makes what was written as durable as it is to be. */
  async finish(): Promise<Session> {
    if (!this.#isEntered) await this.#enter(0)
    const { fs, durability } = this.#disk
    const session = this.#session
    const { total, durable } = this.#options
    session.part.touched()
    if (this.#end === session.received) await fs.futimes(this.#fd, new Date(), new Date())
    if (durability === 'fragment') await this.#checkpoint()
    else if (durability === 'file' && durable && !this.#isWrittenThrough) await this.#sync()
    return withProgress(session, total, this.#end)
  }

  /** Ends it, whatever became of it. */
  release(): void {
    if (this.#isEntered) this.#session.part.file.release()
  }

  /** @param count bytes that are here */
  async #enter(count: number): Promise<void> {
    const session = this.#session
    const isKept = session.part.file.isOpen
    // What is open was opened without it.
    this.#isWrittenThrough = !isKept && comesInOneWrite(this.#disk, this.#options, count)
    // What is published in a moment is noted with that: until then it tells nothing that the client does not tell again.
    const isNotedLater = this.#isWrittenThrough && this.#options.publishes === true && session.record.isOpen
    const { total, durable } = this.#options
    if (session.total === undefined && !isNotedLater) await session.record.append({ total })
    if (session.state === 'lost') await session.record.append({ accepted: null, synced: 0 })
    // Only where the end is near will there be more to note at once.
    if (!durable || total > SmallFileBytes) session.record.close()
    this.#isEntered = true
    if (!isKept) session.part.file.closesQuickly = closesQuickly(total)
    this.#fd = await open(session, this.#isWrittenThrough)
    if (isKept) await session.part.verify(this.#fd, session.received)
    this.#throwIfTimedOut()
    const { state: facts } = session.record
    const isSure = sameBoot(facts.boot, this.#disk.boot)
    this.#synced = isSure ? (facts.synced ?? 0) : await truncateToDurable(this.#disk, this.#fd, session)
    this.#throwIfTimedOut()
  }

  /** After its timeout an append must not truncate or write: another packet may have acquired the session. */
  #throwIfTimedOut(): void {
    this.#options.signal?.throwIfAborted()
  }

  async #checkpoint(): Promise<void> {
    await this.#sync()
    await this.#session.part.checkpoint(this.#end, this.#synced)
    this.#synced = this.#end
  }

  #sync(): Promise<void> {
    return this.#distrustOnFailure(this.#disk.fs.fdatasync(this.#fd))
  }

  /**
   * If what syncs bytes fails, they have to come again: the kernel tells an error once, and may say of the same bytes next
   * time that all is well.
   */
  async #distrustOnFailure<T>(sync: Promise<T>): Promise<T> {
    try {
      return await sync
    } catch (error) {
      await this.#session.record.append({ boot: UntrustedBoot }).catch(() => {})
      throw error
    }
  }
}

/**
 * Whether a file's bytes are all here, and are written with `O_DSYNC`: the one write syncs what it writes, which spares
 * a file of 1 KiB a tenth of its time. On Linux only: elsewhere the flag promises less than a sync, or is none.
 */
const comesInOneWrite = ({ durability }: Disk, { total, durable }: AppendOptions, count: number): boolean =>
  durable && durability === 'file' && count > 0 && count === total && process.platform === 'linux'

function open(session: FileSession, isWrittenThrough: boolean): Promise<number> {
  const { part } = session
  // Made by the first append only: if it is gone later, the session was removed, and must not come back.
  const begins = (session.total === undefined && session.received === 0) || session.state === 'lost'
  return part.file.acquire(
    constants.O_WRONLY | (begins ? constants.O_CREAT : 0) | (isWrittenThrough ? constants.O_DSYNC : 0),
  )
}

/** The session, with all bytes up to `end`. */
function withProgress(session: FileSession, total: number, end: number): Session {
  // What vanished was accepted, not what came in its place.
  const isAnew = session.state === 'lost'
  const now: SessionProgress = {
    state: isAnew ? 'receiving' : session.state,
    received: end,
    total,
    updatedAt: Date.now(),
    decision: isAnew ? undefined : session.decision,
    rejection: undefined,
  }
  return new FileSession(session, now, session)
}

/** Cuts off what was written under an earlier boot, or whose sync failed. Resolves to what is surely there. */
async function truncateToDurable(
  { fs, boot }: Disk,
  fd: number,
  { received, record, part }: FileSession,
): Promise<number> {
  // Of a file that was cut off to nothing, ext4 begins to write back the rest when it is closed.
  part.file.closesQuickly = false
  await fs.ftruncate(fd, received)
  await record.append({ boot, synced: received })
  return received
}

import { constants } from 'node:fs'
import { sameBoot } from './boot.ts'
import { FileSession, releaseFiles } from './file-session.ts'
import { type FileSystem, translate, writeAll } from './file-system.ts'
import type { AppendOptions, Body, Session, StoreOptions } from './store.ts'

/** Bytes of a file that comes whole, and soon. */
const Small = 1024 * 1024

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

/**
 * See `Store.append`. What waits for the client's bytes is one function, and a small one: thousands may wait for hours, in
 * each half a kilobyte.
 */
export async function append(
  disk: Disk,
  session: FileSession,
  body: Body,
  options: AppendOptions,
): Promise<Session> {
  const { part } = session
  let end = session.received
  try {
    await note(session, options)
    try {
      const fd = await open(session)
      let synced = await settle(disk, fd, session, options)
      // One write in flight.
      for await (const chunks of body) {
        end = await writeAll(disk.fs, fd, chunks, end)
        if (disk.durability === 'none' || end - synced < SyncEvery) continue
        await part.mark(fd, end, synced)
        synced = end
      }
      part.wasWritten()
      await finish(disk, fd, session, { end, synced, durable: options.durable })
    } finally {
      part.file.leave()
    }
  } catch (error) {
    releaseFiles(session)
    throw translate(error)
  }
  return grown(session, options.total, end)
}

/** Makes the record say what the first bytes mean. */
async function note(session: FileSession, { total, durable }: AppendOptions): Promise<void> {
  const { record } = session
  if (session.total === undefined) await record.note({ total })
  if (session.state === 'gone') await record.note({ accepted: null, synced: 0 })
  // Only where the end is near will there be more to note at once.
  if (!durable || total > Small) record.letGo()
}

async function open(session: FileSession): Promise<number> {
  const { part } = session
  // Made by the first append only: if it is gone later, the session was removed, and must not come back.
  const begins = session.total === undefined || session.state === 'gone'
  const isKept = part.file.isOpen
  const fd = await part.file.enter(constants.O_WRONLY | (begins ? constants.O_CREAT : 0))
  if (isKept) await part.check(fd, session.received)
  return fd
}

/** Makes what was written as durable as it is to be. */
async function finish(
  { fs, durability }: Disk,
  fd: number,
  { part, received }: FileSession,
  { end, synced, durable }: { end: number; synced: number; durable: boolean },
): Promise<void> {
  if (end === received) await fs.futimes(fd, new Date(), new Date())
  if (durability === 'fragment') await part.mark(fd, end, synced)
  else if (durable && durability === 'file') await fs.fdatasync(fd)
}

/** The session, with all bytes up to `end`. */
function grown(session: FileSession, total: number, end: number): Session {
  const now = { received: end, total, progressed: Date.now() }
  // What vanished was accepted, not what came in its place.
  if (session.state === 'gone') return new FileSession(session, { ...now, state: 'receiving' }, session)
  const { state, acceptance } = session
  return new FileSession(session, { ...now, state, ...(acceptance && { acceptance }) }, session)
}

/** What was written under an earlier boot and is not surely there is cut off. Resolves to what is. */
async function settle(
  { fs, boot }: Disk,
  fd: number,
  { received, record }: FileSession,
  options: StoreOptions,
): Promise<number> {
  const { synced = 0 } = record.facts
  if (sameBoot(record.facts.boot, boot)) return synced
  // Given up while it opened: what would be cut off another packet may have written.
  options.signal?.throwIfAborted()
  await fs.ftruncate(fd, received)
  await record.note({ boot, synced: received })
  return received
}

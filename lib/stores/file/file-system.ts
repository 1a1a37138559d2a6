import * as fs from 'node:fs'
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { BitsError } from '../../protocol/errors.ts'
import { dropBytes } from '../chunks.ts'

/** What the file store needs to know of a file. */
export type FileStatus = Pick<
  fs.Stats,
  'size' | 'mtimeMs' | 'nlink' | 'ino' | 'dev' | 'isDirectory' | 'isSymbolicLink'
>

/**
 * The calls that the file store makes, on plain descriptors: `FileHandle` costs up to a third of the speed of small
 * fragments. It is also the seam at which tests let a disk fill up, fail or forget.
 */
export interface FileSystem {
  open(path: string, flags: string | number): Promise<number>
  close(fd: number): Promise<void>
  /** Closes in the calling thread. Asked for small files, on file systems where this waits for nothing. */
  closeSync?(fd: number): void
  /** Writes the buffers at `position`; may write fewer bytes than there are. Resolves to the bytes written. */
  writev(fd: number, buffers: readonly Uint8Array[], position: number): Promise<number>
  /** Writes the whole text where the descriptor stands. */
  write(fd: number, text: string): Promise<void>
  fdatasync(fd: number): Promise<void>
  fsync(fd: number): Promise<void>
  futimes(fd: number, atime: Date, mtime: Date): Promise<void>
  ftruncate(fd: number, length: number): Promise<void>
  stat(path: string): Promise<FileStatus>
  fstat(fd: number): Promise<FileStatus>
  lstat(path: string): Promise<FileStatus>
  readFile(path: string, encoding: 'utf8'): Promise<string>
  link(path: string, newPath: string): Promise<void>
  rename(path: string, newPath: string): Promise<void>
  unlink(path: string): Promise<void>
  copyFile(path: string, newPath: string): Promise<void>
  /** Resolves to the first of the directories that it made, if it made any. */
  mkdir(path: string, options: { recursive: true; mode?: number }): Promise<string | undefined>
  realpath(path: string): Promise<string>
  opendir(path: string): Promise<AsyncIterable<{ readonly name: string }>>
  /** `start` and `end` are offsets, inclusive. */
  createReadStream(path: string, range?: { start?: number; end?: number }): Readable
  /** Names the run of the machine during which what was written is sure to be there, synced or not. */
  boot(): string
}

/** Writes all bytes where the descriptor stands. */
const write = (fd: number, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.write(fd, bytes, (error, written) => {
      if (error) reject(error)
      else if (written === bytes.length) resolve()
      // A disk that is almost full takes a part, and says why only when it is asked for the rest.
      else resolve(write(fd, bytes.subarray(written)))
    })
  })

export const nodeFileSystem: FileSystem = {
  open: promisify(fs.open),
  close: promisify(fs.close),
  closeSync: fs.closeSync,
  writev: (fd, buffers, position) =>
    new Promise((resolve, reject) => {
      fs.writev(fd, buffers, position, (error, written) => {
        if (error) reject(error)
        else resolve(written)
      })
    }),
  write: (fd, text) => write(fd, Buffer.from(text)),
  fdatasync: promisify(fs.fdatasync),
  fsync: promisify(fs.fsync),
  futimes: promisify(fs.futimes),
  ftruncate: promisify(fs.ftruncate),
  stat: promisify(fs.stat),
  fstat: promisify(fs.fstat),
  lstat: promisify(fs.lstat),
  readFile: promisify(fs.readFile),
  link: promisify(fs.link),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  copyFile: promisify(fs.copyFile),
  mkdir: promisify(fs.mkdir),
  realpath: promisify(fs.realpath.native),
  opendir: promisify(fs.opendir),
  createReadStream: fs.createReadStream,
  boot: currentBoot,
}

/** The code of a system error, `ENOENT` for example. */
export const errno = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Resolves to undefined where the file, or the folder above it, is not there. */
export const orAbsent = <T>(result: Promise<T>): Promise<T | undefined> => result.catch(ifAbsent)

function ifAbsent(error: unknown): undefined {
  if (errno(error) !== 'ENOENT' && errno(error) !== 'ENOTDIR') throw error
}

/** Opens, uses and closes a file, whatever happens in between. */
export async function withFile<T>(
  fs: FileSystem,
  path: string,
  flags: string | number,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  const fd = await fs.open(path, flags)
  try {
    return await use(fd)
  } finally {
    await fs.close(fd)
  }
}

/** Windows cannot sync a directory, and needs not: NTFS journals its entries. */
export const canSyncDirectories = process.platform !== 'win32'

/** Makes the entries of a directory durable. */
export async function syncDirectory(fs: FileSystem, path: string): Promise<void> {
  if (!canSyncDirectories) return
  await withFile(fs, path, 'r', (fd) => fs.fsync(fd))
}

/** Makes a directory, with those above it. One that is there is synced all the same: who made it may have died. */
export async function makeDirectory(
  fs: FileSystem,
  path: string,
  { durable, mode }: { readonly durable: boolean; readonly mode?: number },
): Promise<void> {
  const first = await fs.mkdir(path, { recursive: true, ...(mode !== undefined && { mode }) })
  let made = path
  do {
    made = dirname(made)
    if (durable) await syncDirectory(fs, made)
  } while (first !== undefined && made.length >= first.length)
}

/** Writes a batch at `position`, whole. Resolves to the position behind it. */
export async function writeAll(
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
export function translate(error: unknown): unknown {
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

/** How far apart two readings of one boot's time may lie, in seconds: clocks are set right while machines run. */
const Drift = 5

/**
 * Names this run of the machine's kernel. What was written but not synced is sure to be there while it lasts, and
 * not after. Where the kernel gives no name it is the second at which it started.
 */
export function currentBoot(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return String(Math.round(Date.now() / 1000 - uptime()))
  }
}

/** Whether two names are of one boot. A wrong no costs a client some bytes again, a wrong yes would cost a file. */
export function sameBoot(a: string, b: string): boolean {
  return a === b || Math.abs(Number(a) - Number(b)) <= Drift
}

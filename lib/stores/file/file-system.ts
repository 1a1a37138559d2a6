import * as fs from 'node:fs'
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { BitsError } from '../../protocol/errors.ts'
import { dropBytes } from '../store.ts'

/** The fields of `fs.Stats` of Node that the file store uses. */
export type FileStatus = Pick<
  fs.Stats,
  'size' | 'mtimeMs' | 'ctimeMs' | 'nlink' | 'ino' | 'dev' | 'isDirectory' | 'isSymbolicLink'
>

/**
 * The calls that the file store makes: those of `node:fs` with the same names, unless said otherwise. They take plain
 * descriptors, because `FileHandle` costs up to a third of the speed of small fragments. Tests replace them to simulate a disk
 * that is full, fails or loses power.
 */
export interface FileSystem {
  /** Resolves to a descriptor. */
  open(path: string, flags: string | number): Promise<number>
  /** Closes a descriptor. */
  close(fd: number): Promise<void>
  /**
   * Writes the buffers at `position`, or only the first bytes of them. Resolves to the number of bytes
   * written.
   */
  writev(fd: number, buffers: readonly Uint8Array[], position: number): Promise<number>
  /** Writes the whole text at the current position of the descriptor. */
  write(fd: number, text: string): Promise<void>
  /** Resolves when the bytes of the file are durable, and its size. */
  fdatasync(fd: number): Promise<void>
  /** Resolves when a file, or the entries of a directory, are durable with all metadata. */
  fsync(fd: number): Promise<void>
  /** Sets the times of access and modification. */
  futimes(fd: number, atime: Date, mtime: Date): Promise<void>
  /** Sets the length of the file in bytes. */
  ftruncate(fd: number, length: number): Promise<void>
  /** The status of a file; follows symbolic links. */
  stat(path: string): Promise<FileStatus>
  /** The status of an open file. */
  fstat(fd: number): Promise<FileStatus>
  /** The status of a file or of a symbolic link itself. */
  lstat(path: string): Promise<FileStatus>
  /** The whole text of a file. */
  readFile(path: string, encoding: 'utf8'): Promise<string>
  /** Creates a hard link. Rejects with EEXIST if `newPath` exists. */
  link(path: string, newPath: string): Promise<void>
  /** Renames a file, and replaces `newPath` atomically if it exists. */
  rename(path: string, newPath: string): Promise<void>
  /** Removes the name of a file. */
  unlink(path: string): Promise<void>
  /** Copies the bytes of a file, and replaces `newPath` if it exists. */
  copyFile(path: string, newPath: string): Promise<void>
  /** Creates a directory and its missing parents. Resolves to the first directory that was created, or undefined. */
  mkdir(path: string, options: { recursive: true; mode?: number }): Promise<string | undefined>
  /** The absolute path without symbolic links. */
  realpath(path: string): Promise<string>
  /** The entries of a directory, in any order. */
  opendir(path: string): Promise<
    AsyncIterable<{
      /** Name of the entry, without the path of the directory. */
      readonly name: string
    }>
  >
  /** The bytes of a file. `start` and `end` are inclusive offsets. */
  createReadStream(path: string, range?: { start?: number; end?: number }): Readable
  /** Id of this boot of the machine. While it lasts, written bytes exist, synced or not. */
  boot(): string
}

/** Writes all bytes at the current position of the descriptor. */
const write = (fd: number, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.write(fd, bytes, (error, written) => {
      if (error) reject(error)
      else if (written === bytes.length) resolve()
      // A disk that is almost full writes a part, and reports the error only for the rest.
      else resolve(write(fd, bytes.subarray(written)))
    })
  })

const mkdir: (path: string, options: fs.MakeDirectoryOptions) => Promise<unknown> = promisify(fs.mkdir)

export const nodeFileSystem: FileSystem = {
  open: promisify(fs.open),
  close: promisify(fs.close),
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
  mkdir: (path, { mode }) => createDirectories(path, mode === undefined ? {} : { mode }),
  realpath: promisify(fs.realpath.native),
  opendir: promisify(fs.opendir),
  createReadStream: fs.createReadStream,
  boot: currentBoot,
}

/**
 * The code of a system error, for example `ENOENT`. It does not test `instanceof Error`: in a VM context, as in
 * Jest and in the VM pools of vitest, errors of `node:fs` have another class `Error`.
 */
export function errno(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Resolves to undefined if the file or its folder does not exist. */
export const orAbsent = <T>(result: Promise<T>): Promise<T | undefined> => result.catch(ifAbsent)

function ifAbsent(error: unknown): undefined {
  if (errno(error) !== 'ENOENT' && errno(error) !== 'ENOTDIR') throw error
}

/** Opens a file, uses it, and closes it also after an error. */
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

/** Windows cannot sync a directory and need not: NTFS journals its entries. */
export const canSyncDirectories = process.platform !== 'win32'

/** Makes the entries of a directory durable. */
export async function syncDirectory(fs: FileSystem, path: string): Promise<void> {
  if (!canSyncDirectories) return
  await withFile(fs, path, 'r', (fd) => fs.fsync(fd))
}

/**
 * Creates a directory and its missing parents. Resolves to the first directory that it created; to undefined if
 * all exist. `fs.mkdir` with `recursive` repeats its calls without end where a file system reports ENOENT
 * although the parent exists, as /proc does, and then blocks a thread of libuv.
 */
export async function createDirectories(
  path: string,
  options: { readonly mode?: number } = {},
): Promise<string | undefined> {
  try {
    return await createDirectory(path, options)
  } catch (error) {
    const parent = dirname(path)
    if (errno(error) !== 'ENOENT' || parent === path) throw error
    const isMissing = !(await nodeFileSystem.lstat(parent).catch(() => undefined))
    const first = isMissing ? await createDirectories(parent, options) : undefined
    // Again also with an existing parent: another process may have created it in the meantime.
    const own = await createDirectory(path, options)
    return first ?? own
  }
}

/** Resolves to the path; to undefined if the directory exists. */
async function createDirectory(
  path: string,
  options: { readonly mode?: number },
): Promise<string | undefined> {
  try {
    await mkdir(path, options)
    return path
  } catch (error) {
    const status = await nodeFileSystem.stat(path).catch(() => undefined)
    if (status?.isDirectory()) return undefined
    throw error
  }
}

/**
 * Creates a directory and its parents. An existing directory is synced, too: the process that created it may
 * have crashed before its sync.
 */
export async function makeDirectory(
  fs: FileSystem,
  path: string,
  { durable, mode }: { readonly durable: boolean; readonly mode?: number },
): Promise<void> {
  const first = await fs.mkdir(path, { recursive: true, ...(mode !== undefined && { mode }) })
  let parent = path
  do {
    parent = dirname(parent)
    if (durable) await syncDirectory(fs, parent)
  } while (first !== undefined && parent.length >= first.length)
}

/** Creates the directory of the uploads and that of the sessions. */
export async function makeDirectories(
  fs: FileSystem,
  { root, sessions }: { readonly root: string; readonly sessions: string },
  durable: boolean,
): Promise<void> {
  await makeDirectory(fs, root, { durable })
  // Other users must not read unfinished uploads.
  await makeDirectory(fs, sessions, { durable, mode: 0o700 })
}

/** Writes a whole batch at `position`. Resolves to the position after it. */
export async function writeAll(
  fs: FileSystem,
  fd: number,
  chunks: readonly Uint8Array[],
  position: number,
): Promise<number> {
  let remaining = 0
  for (const { length } of chunks) remaining += length
  let rest = chunks
  let at = position
  while (remaining > 0) {
    const written = await fs.writev(fd, rest, at)
    at += written
    remaining -= written
    // A disk that is almost full writes a part, and reports the error only for the rest.
    if (remaining > 0) rest = dropBytes(rest, written)
  }
  return at
}

/** Translates a system error to the BITS error that means the same, if there is one. */
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

/**
 * Seconds by which two start times of one boot may differ, because clocks are corrected while a machine runs.
 */
const MaxClockDriftSeconds = 5

/**
 * Id of this boot of the machine. Bytes that were written but not synced are certain to exist during the
 * boot, not after it. The id is the `boot_id` of Linux; on other systems it is the second at which the
 * machine started.
 */
export function currentBoot(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return String(Math.round(Date.now() / 1000 - uptime()))
  }
}

/**
 * Whether two ids belong to the same boot. A wrong false makes a client send some bytes again; a wrong true
 * could lose a file.
 */
export function sameBoot(a: string, b: string): boolean {
  return a === b || Math.abs(Number(a) - Number(b)) <= MaxClockDriftSeconds
}

import { join, resolve } from 'node:path'
import type { Locker } from '../../locks/locker.ts'
import { memoryLocker } from '../../locks/memory.ts'
import { processLocker } from '../../locks/process.ts'
import { assertKnownKeys, checkBoolean, checkOneOf, optionError } from '../../validate.ts'
import type { Store } from '../store.ts'
import type { Durability } from './append.ts'
import { type Directories, isWithin } from './destination.ts'
import { FileStore } from './file-store.ts'
import { type FileSystem, makeDirectories, makeDirectory, nodeFileSystem } from './file-system.ts'

export type { Durability }

/** Options of {@link fileStore}. */
export interface FileStoreOptions {
  /**
   * Directory for unfinished uploads. Default: `.bits-sessions` in the upload directory. If it is on another
   * file system than the upload directory, publishing copies the file. IIS: BITSSessionDirectory.
   */
  readonly sessionDirectory?: string
  /**
   * What survives a loss of power. A crash of the process never loses an acknowledged byte.
   * - `'file'`, the default: after the last Ack the whole file survives. An unfinished upload resumes at its
   *   last sync, every 64 MiB, and the client sends the rest again. Two syncs per file.
   * - `'fragment'`: after every Ack all acknowledged bytes survive. Two more syncs per fragment.
   * - `'none'`: nothing is synced. A file that was published shortly before may be incomplete or contain
   *   zeros.
   *
   * Bytes whose sync failed are never trusted again, and the client sends them again.
   */
  readonly durability?: Durability
  /**
   * Whether missing folders of a file's name are created when the file is published. Default: false, as in
   * IIS: an upload to a missing folder is refused with 404.
   */
  readonly createFolders?: boolean
  /** The calls to the file system, for tests that simulate a disk that fails. Default: those of `node:fs`. */
  readonly fileSystem?: FileSystem
}

/**
 * A store in one directory. `<directory>/<name>` is a published file. `<directory>/.bits-sessions/` contains
 * two files per session: `{GUID}.json`, its journal, and `{GUID}.part`, its bytes. The length of the `.part`
 * file is the progress. `locks/` there contains the sockets and lock files of the processes.
 *
 * The directory is created with the first session, folders in it only with `createFolders`; links that lead out of it are not
 * followed. A published file appears at once and whole. Without the option `overwrite` of the middleware the file system must
 * support hard links.
 *
 * Several processes of one machine may share the directory, if they run as the same user, but not several machines: one machine
 * cannot know which unsynced bytes of another exist. Do not remove `locks/` while a process uses the directory.
 *
 * @param directory path, relative to the working directory
 * @throws {TypeError} if `directory` is not a path, or an option is unknown or invalid
 */
export function fileStore(directory: string, options: FileStoreOptions = {}): Store {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw new TypeError('fileStore: pass the upload directory as the first argument')
  }
  assertKnownKeys('fileStore', 'option', options, [
    'sessionDirectory',
    'durability',
    'createFolders',
    'fileSystem',
  ])
  const {
    durability = 'file',
    createFolders = false,
    fileSystem = nodeFileSystem,
    sessionDirectory,
  } = options
  checkOneOf('fileStore', 'durability', durability, ['file', 'fragment', 'none'])
  checkBoolean('fileStore', 'createFolders', createFolders)
  const root = resolve(directory)
  if (
    sessionDirectory === '' ||
    (sessionDirectory !== undefined && isWithin(resolve(sessionDirectory), root))
  ) {
    const expected = 'a directory that is neither the upload directory nor one of its parents'
    throw optionError('fileStore', 'sessionDirectory', expected, sessionDirectory)
  }
  const directories: Directories = {
    root,
    sessions: resolve(sessionDirectory ?? join(root, '.bits-sessions')),
    createFolders,
  }
  // No other process can see a custom file system.
  const locker = options.fileSystem ? memoryLocker() : lockerFor(directories, durability !== 'none')
  return new FileStore(directories, fileSystem, durability, locker)
}

function lockerFor(directories: Directories, durable: boolean): Locker {
  const directory = join(directories.sessions, 'locks')
  return processLocker(directory, async () => {
    await makeDirectories(nodeFileSystem, directories, durable)
    await makeDirectory(nodeFileSystem, directory, { durable: false, mode: 0o700 })
  })
}

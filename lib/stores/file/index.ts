import { join, resolve } from 'node:path'
import { memoryLocker } from '../../locks/memory.ts'
import { processLocker } from '../../locks/processes.ts'
import { assertKnownKeys } from '../../validate.ts'
import type { Store } from '../store.ts'
import type { Durability } from './append.ts'
import { FileStore } from './file-store.ts'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { type Directories, isWithin } from './publish.ts'

export type { Durability }

/** Options of {@link fileStore}. */
export interface FileStoreOptions {
  /**
   * Where unfinished uploads rest. Default: `.bits-sessions` below the store's directory. IIS: BITSSessionDirectory.
   * On another file system than the files, publishing has to copy.
   */
  readonly sessionDirectory?: string
  /**
   * What a loss of power may cost; the death of the process never costs an acknowledged byte.
   * - `'file'`, the default: the last Ack promises the whole file. An unfinished upload goes back to where it was
   *   synced last, every 64 MiB, and the client sends the rest again. Two syncs a file.
   * - `'fragment'`: every Ack promises what it counts. Two syncs more for each fragment.
   * - `'none'`: nothing is promised, and nothing synced: a file that was published just before may be torn.
   */
  readonly durability?: Durability
  /**
   * Whether folders are made that a file's name has and the directory has not, when the file is complete. Default: false,
   * as IIS: then such an upload is refused with 404.
   */
  readonly createFolders?: boolean
  /** The calls to the file system. Default: those of `node:fs`. For tests: a disk that fails. */
  readonly fileSystem?: FileSystem
}

/**
 * Keeps uploads in one directory: `<directory>/<name>` is a finished file, `<directory>/.bits-sessions/` holds all else,
 * two files a session, flat: `{GUID}.json`, its record, and `{GUID}.part`, its bytes. The part's length is the
 * progress. The directory is made when the first session begins; folders below it only if `createFolders` says so. Several processes may
 * share it, but not several machines: what one has written and not synced, another cannot know to be there.
 *
 * @param directory relative to the working directory
 * @throws {TypeError} if `directory` is no path, or an option is unknown or out of range
 */
export function fileStore(directory: string, options: FileStoreOptions = {}): Store {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw new TypeError('fileStore: the first argument is the directory that uploads go to')
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
  if (!['file', 'fragment', 'none'].includes(durability)) {
    throw new TypeError(`fileStore: durability is 'file', 'fragment' or 'none', not '${durability}'`)
  }
  if (typeof createFolders !== 'boolean') throw new TypeError('fileStore: createFolders is true or false')
  const root = resolve(directory)
  if (
    sessionDirectory === '' ||
    (sessionDirectory !== undefined && isWithin(resolve(sessionDirectory), root))
  ) {
    throw new TypeError(
      'fileStore: sessionDirectory is a directory of its own, not the one that uploads go to',
    )
  }
  const directories: Directories = {
    root,
    sessions: resolve(sessionDirectory ?? join(root, '.bits-sessions')),
    createFolders,
  }
  // Whoever brings a file system of his own brings one that no other process can see.
  const locker = options.fileSystem ? memoryLocker() : processLocker(directories.sessions)
  return new FileStore(directories, fileSystem, durability, locker)
}

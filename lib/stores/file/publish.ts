import { dirname, join } from 'node:path'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import {
  checkFolders,
  type Directories,
  destinationPath,
  exists,
  makeFolders,
  rejectUnsupportedName,
} from './destination.ts'
import { errno, type FileSystem, orAbsent, withFile } from './file-system.ts'

/**
 * Journaled before the step that makes a file visible, so that a process that finds it after a crash knows whether the
 * step was made. A consumer may have moved or removed the file since, so its name does not show it. The step is a
 * link, a rename of a replacement link, or a rename of the source itself; link(2) changes `ctimeMs` and `nlink` of the
 * source, and a consumer that removes its link changes only `nlink` back.
 *
 * Before Linux 6.13 the time has the resolution of a clock tick, up to 10 ms: a file that was written, published and
 * removed within one tick, just before a crash, is published again.
 */
export interface PublishIntent {
  /** What is linked or renamed: the data file, or its copy at {@link temporaryCopyPath}. */
  readonly source: 'data' | 'copy'
  /** Status of the source before the step: when its inode last changed, and the number of its links. */
  readonly ctimeMs: number
  readonly nlink: number
}

/** The files that publishing uses, as absolute paths. */
export interface PublishPaths {
  readonly data: string
  /** On the file system of the data file; nothing else uses it. */
  readonly replacementLink: string
}

export interface PublishOptions {
  /** Whether the file was made visible before, so that only its name must be synced. */
  readonly isVisible: boolean
  /** Whether new folders must survive a loss of power. */
  readonly durable: boolean
  /** Syncs the folder of the published file, if the file must survive a loss of power. */
  syncNames(folder: string): Promise<void>
  /** Saves the state of publishing; see the journal entry of this name. */
  save(publishing: PublishIntent | 'done' | null): Promise<void>
  /** Called before a copy is created at {@link temporaryCopyPath}. */
  beforeCopy(): Promise<void>
}

/** Whether a crashed process has made the file visible that it was about to publish. In the same boot only. */
export async function wasMadeVisible(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  { data, replacementLink }: PublishPaths,
  { source, ctimeMs, nlink }: PublishIntent,
): Promise<boolean> {
  const [status, hasReplacementLink] = await Promise.all([
    orAbsent(fs.lstat(source === 'data' ? data : temporaryCopyPath(directories, session))),
    session.overwrite && source === 'data' && exists(fs, replacementLink),
  ])
  // The source itself was renamed.
  if (!status) return true
  return !hasReplacementLink && (status.ctimeMs > ctimeMs || status.nlink > nlink)
}

/** Whether the destination is a link to the data file. */
export const isPublishedFile = (
  fs: FileSystem,
  directories: Directories,
  { name }: NewSession,
  dataPath: string,
): Promise<boolean> => isSameFile(fs, dataPath, destinationPath(directories, name))

/**
 * Publishes a complete data file at its destination, atomically and at most once. The data file stays, as a second link,
 * unless the file system has no links.
 */
export async function publishFile(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  paths: PublishPaths,
  options: PublishOptions,
): Promise<void> {
  const path = destinationPath(directories, session.name)
  if (dirname(path) !== directories.root) {
    await checkFolders(fs, directories, path, session).catch(rejectUnsupportedName)
    if (directories.createFolders) await makeFolders(fs, directories, path, options.durable)
  }
  if (!options.isVisible) await makeVisible(fs, directories, session, paths, path, options)
  try {
    await options.syncNames(dirname(path))
  } catch (error) {
    await options.save('done').catch(() => {})
    throw error
  }
}

async function makeVisible(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  { data, replacementLink }: PublishPaths,
  path: string,
  { save, beforeCopy }: PublishOptions,
): Promise<void> {
  const { overwrite } = session
  const copyPath = temporaryCopyPath(directories, session)
  // Without an intent after a crash: by another version, or after a loss of power.
  const isPublished = async () => (await isSameFile(fs, data, path)) || (await isSameFile(fs, copyPath, path))
  // Checked first only for a replacement: a rename to another link of the same file would leave both links.
  if (overwrite && (await isPublished())) return
  const saveIntent = async (source: PublishIntent['source']): Promise<void> => {
    const { ctimeMs, nlink } = await fs.lstat(source === 'data' ? data : copyPath)
    await save({ source, ctimeMs, nlink })
  }
  /** After a failed step. The files that show that it was not made are removed only after the entry. */
  const revert = (unneeded: string): Promise<void> =>
    save(null).then(
      () => orAbsent(fs.unlink(unneeded)),
      () => {},
    )
  try {
    if (overwrite) await orAbsent(fs.unlink(replacementLink))
    await saveIntent('data')
    if (overwrite) await replaceFile(fs, data, path, replacementLink)
    else await linkExclusively(fs, data, path)
    return
  } catch (error) {
    // A process that does not see our locks may also have published it at the same time.
    if (await isPublished()) return
    await revert(replacementLink)
    if (errno(error) !== 'EXDEV') throw error
  }
  // The destination is on another file system.
  await beforeCopy()
  try {
    await orAbsent(fs.unlink(copyPath))
    await fs.copyFile(data, copyPath)
    await withFile(fs, copyPath, 'r+', (fd) => fs.fsync(fd))
    await saveIntent('copy')
    // Atomic, because the copy is beside the destination.
    if (overwrite) await renameOver(fs, copyPath, path)
    else await linkExclusively(fs, copyPath, path)
  } catch (error) {
    await revert(copyPath)
    throw error
  }
}

/** The path of a copy beside the destination, until it is published. A crash may leave it behind. */
export const temporaryCopyPath = ({ root }: Directories, { name, id }: NewSession): string =>
  join(dirname(join(root, ...name.split('/'))), `.${id}.part`)

/**
 * Replaces the file by a second link to the data file. The data file stays, so that its links show after a
 * crash what was done.
 */
async function replaceFile(fs: FileSystem, dataPath: string, path: string, linkPath: string): Promise<void> {
  try {
    await fs.link(dataPath, linkPath)
  } catch (error) {
    if (!hasNoLinks(error)) throw error
    return renameOver(fs, dataPath, path)
  }
  await renameOver(fs, linkPath, path)
}

async function renameOver(fs: FileSystem, source: string, path: string): Promise<void> {
  await fs.rename(source, path).catch((error) => {
    if (errno(error) !== 'EISDIR' && errno(error) !== 'ENOTEMPTY') throw error
    throw new BitsError('invalid-destination', 'The destination is a directory', { cause: error })
  })
}

/** Links and never replaces, as rename() would. */
async function linkExclusively(fs: FileSystem, source: string, path: string): Promise<void> {
  try {
    await fs.link(source, path)
  } catch (error) {
    if (errno(error) === 'EEXIST') throw new BitsError('destination-exists', undefined, { cause: error })
    if (!hasNoLinks(error)) throw error
    throw noLinksError(error)
  }
}

const noLinksError = (cause: unknown): Error =>
  new Error(
    'The file system has no hard links, which are needed to publish without overwriting: allow `overwrite`, or use another file system',
    { cause },
  )

/**
 * Tries whether the file system of a folder has hard links.
 * @param path in the folder; nothing else uses it
 * @throws {Error} if it has none
 */
export async function assertLinks(fs: FileSystem, path: string): Promise<void> {
  await withFile(fs, path, 'ax', async () => {})
  const other = `${path}.link`
  try {
    await fs.link(path, other)
    await fs.unlink(other)
  } catch (error) {
    throw hasNoLinks(error) ? noLinksError(error) : error
  } finally {
    await orAbsent(fs.unlink(path))
  }
}

const hasNoLinks = (error: unknown): boolean =>
  ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(errno(error) ?? '')

/** Whether two paths are links to one file. */
export async function isSameFile(fs: FileSystem, a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([orAbsent(fs.lstat(a)), orAbsent(fs.lstat(b))])
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev
}

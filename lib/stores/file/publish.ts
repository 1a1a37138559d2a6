import { dirname, join } from 'node:path'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import {
  checkFolders,
  type Directories,
  destinationPath,
  makeFolders,
  rejectUnsupportedName,
} from './destination.ts'
import { errno, type FileSystem, orAbsent, withFile } from './file-system.ts'

/**
 * Journaled before the step that makes a file visible, so that a process that finds it after a crash knows whether the
 * step was made. A consumer may have moved or removed the file since, so its name does not show it.
 *
 * A rename removes its source. A link changes the time of the last change and the number of links of its source. Another
 * tool may change them, too, such as `chmod -R` or a backup by hard links; {@link wasMadeVisible} notices most of them.
 *
 * Before Linux 6.13 the time has the resolution of a clock tick, up to 10 ms: a file that was written, published and
 * removed within one tick, just before a crash, is published again.
 */
export interface PublishIntent {
  readonly step: 'link' | 'rename'
  /** The data file, the replacement link to it, or a copy at {@link temporaryCopyPath}. */
  readonly source: 'data' | 'out' | 'copy'
  /** Status of the source before the step. */
  readonly dev: number
  readonly ino: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly nlink: number
  /** Of the folder of the source. On overlayfs a file has another `dev` than its folder. */
  readonly folderDev: number
  readonly folderIno: number
}

/** The files of a session that publishing uses, as absolute paths. */
export interface PublishPaths {
  readonly data: string
  readonly journal: string
  /** A second link to the data file, which exists while it replaces a file. */
  readonly out: string
}

export interface PublishOptions {
  /** Whether the file was made visible: if it was before, only its name must be synced. */
  readonly file: { isVisible: boolean }
  /** Whether new folders must survive a loss of power. */
  readonly durable: boolean
  /** Syncs the folder of the published file, if the file must survive a loss of power. */
  syncNames(folder: string): Promise<void>
  /** Saves the state of publishing; see the journal entry of this name. */
  save(publishing: PublishIntent | 'done' | null): Promise<void>
  /** Called before a copy is created at {@link temporaryCopyPath}. */
  beforeCopy(): Promise<void>
}

/**
 * Whether a crashed process has made the file visible that it was about to publish. In the same boot only. If a tool has
 * changed the files since, it has not: it is better to publish a file twice than not at all. A tool that changed the data
 * file only, between the crash and the next packet, is not noticed.
 */
export async function wasMadeVisible(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  paths: PublishPaths,
  intent: PublishIntent,
): Promise<boolean> {
  const { step, source } = intent
  const path = source === 'copy' ? temporaryCopyPath(directories, session) : paths[source]
  const [status, folder, journal] = await Promise.all([
    orAbsent(fs.lstat(path)),
    orAbsent(fs.lstat(dirname(path))),
    orAbsent(fs.lstat(paths.journal)),
  ])
  // If it is another folder, or its file system is not mounted, the source only seems to be missing.
  const isSameFolder = folder?.dev === intent.folderDev && folder.ino === intent.folderIno
  if (step === 'rename') return isSameFolder && status === undefined
  if (status?.ino !== intent.ino || status.dev !== intent.dev || status.mtimeMs !== intent.mtimeMs)
    return false
  // No journal is beside a copy, which would show that a tool has changed both.
  if (source === 'copy') return isSameFile(fs, path, destinationPath(directories, session.name))
  // A tool that changed the data file has probably changed the journal beside it as well. Otherwise the last change of
  // the journal is an append, which sets both times.
  const isChangedByTool = !journal || journal.ctimeMs !== journal.mtimeMs || journal.nlink > 1
  if (isChangedByTool) return false
  return status.ctimeMs !== intent.ctimeMs || status.nlink > intent.nlink
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
  const { file } = options
  const wasVisible = file.isVisible
  if (!wasVisible) {
    if (dirname(path) !== directories.root) {
      await checkFolders(fs, directories, path, session).catch(rejectUnsupportedName)
      if (directories.createFolders) await makeFolders(fs, directories, path, options.durable)
    }
    await makeVisible(fs, directories, session, paths, path, options)
    file.isVisible = true
  }
  try {
    // A consumer may have moved the file with its folder.
    const synced = options.syncNames(dirname(path))
    await (wasVisible ? orAbsent(synced) : synced)
  } catch (error) {
    await options.save('done').catch(() => {})
    throw error
  }
}

async function makeVisible(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  { data, out }: PublishPaths,
  path: string,
  { save, beforeCopy }: PublishOptions,
): Promise<void> {
  const { overwrite } = session
  const copyPath = temporaryCopyPath(directories, session)
  // The file may be published already: before a loss of power, or by a process that does not see our locks.
  const isPublished = async () => (await isSameFile(fs, data, path)) || (await isSameFile(fs, copyPath, path))
  // Checked first only for a replacement: a rename to another link of the same file would leave both links.
  if (overwrite && (await isPublished())) return
  const saveIntent = async (
    step: PublishIntent['step'],
    source: PublishIntent['source'],
    sourcePath: string,
  ) => {
    const [{ dev, ino, mtimeMs, ctimeMs, nlink }, folder] = await Promise.all([
      fs.lstat(sourcePath),
      fs.lstat(dirname(sourcePath)),
    ])
    const { dev: folderDev, ino: folderIno } = folder
    await save({ step, source, dev, ino, mtimeMs, ctimeMs, nlink, folderDev, folderIno })
  }
  const moveTo = async (source: 'data' | 'out' | 'copy', sourcePath: string): Promise<void> => {
    await saveIntent('rename', source, sourcePath)
    await renameOver(fs, sourcePath, path)
  }
  const linkTo = async (source: 'data' | 'copy', sourcePath: string): Promise<void> => {
    await saveIntent('link', source, sourcePath)
    await linkExclusively(fs, sourcePath, path)
  }
  /** After a failed step. The source, which shows that the step was not made, is removed only after the entry. */
  const revert = (source: string): Promise<void> =>
    save(null).then(
      () => orAbsent(fs.unlink(source)),
      () => {},
    )
  try {
    if (!overwrite) return await linkTo('data', data)
    // The data file stays, and shows after a loss of power that it was published.
    const hasOut = await linkReplacement(fs, data, out)
    return await (hasOut ? moveTo('out', out) : moveTo('data', data))
  } catch (error) {
    if (await isPublished()) return
    await revert(out)
    if (errno(error) !== 'EXDEV') throw error
  }
  // The destination is on another file system.
  await beforeCopy()
  try {
    await orAbsent(fs.unlink(copyPath))
    await fs.copyFile(data, copyPath)
    await withFile(fs, copyPath, 'r+', (fd) => fs.fsync(fd))
    // Atomic, because the copy is beside the destination.
    await (overwrite ? moveTo('copy', copyPath) : linkTo('copy', copyPath))
  } catch (error) {
    await revert(copyPath)
    throw error
  }
}

/** The path of a copy beside the destination, until it is published. A crash may leave it behind. */
export const temporaryCopyPath = ({ root }: Directories, { name, id }: NewSession): string =>
  join(dirname(join(root, ...name.split('/'))), `.${id}.part`)

/** Links a data file at its replacement link. Resolves to false if the file system has no links. */
async function linkReplacement(fs: FileSystem, data: string, out: string): Promise<boolean> {
  await orAbsent(fs.unlink(out))
  try {
    await fs.link(data, out)
    return true
  } catch (error) {
    if (hasNoLinks(error)) return false
    throw error
  }
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
async function isSameFile(fs: FileSystem, a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([orAbsent(fs.lstat(a)), orAbsent(fs.lstat(b))])
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev
}

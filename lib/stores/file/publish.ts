import platform, { dirname, join } from 'node:path'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import { errno, type FileStatus, type FileSystem, orAbsent, syncDirectory, withFile } from './file-system.ts'

/** The two directories of a file store, as absolute paths. */
export interface Directories {
  readonly root: string
  readonly sessions: string
  /** Whether folders below the root are made when a file is to stand in them. */
  readonly createFolders: boolean
}

/** Whether a path is a folder, or lies below it. */
export function isWithin(folder: string, path: string, { relative, sep, isAbsolute } = platform): boolean {
  const steps = relative(folder, path)
  // From one drive of Windows to another there are no steps: then the path itself comes back.
  return steps !== '..' && !steps.startsWith(`..${sep}`) && !isAbsolute(steps)
}

/**
 * The path at which a session's file is to stand, by its name, whose segments were checked before.
 * @throws {BitsError} `invalid-destination` within the sessions' directory
 */
function destinationPath({ root, sessions }: Directories, name: string): string {
  const path = join(root, ...name.split('/'))
  if (isInside(sessions, path)) throw outsideStoreError()
  return path
}

/**
 * As `isWithin`, for a folder that is no root, and paths without `..`; in any letter case, so that what one platform takes is
 * no surprise on the next.
 */
function isInside(folder: string, path: string): boolean {
  const [above, below] = [folder.toLowerCase(), path.toLowerCase()]
  return below.startsWith(above) && (below.length === above.length || below[above.length] === platform.sep)
}

/**
 * Checks the folders above a path for what the file system alone knows: links that lead out of the root, short names
 * (`BITS-S~1`) and letter case that lead into the sessions' directory.
 */
async function checkFolders(fs: FileSystem, directories: Directories, path: string): Promise<void> {
  const { root, sessions, createFolders } = directories
  let folder = dirname(path)
  // Folders that are to be made will stand in the last one that is there.
  if (createFolders) while (folder !== root && !(await exists(fs, folder))) folder = dirname(folder)
  const [real, found] = await Promise.all([orAbsent(fs.realpath(folder)), orAbsent(fs.stat(folder))])
  if (folder === root && !found) return
  if (real === undefined || !found?.isDirectory()) throw new BitsError('destination-not-found')
  const inside = isWithin(await fs.realpath(root), real)
  const hidden = await orAbsent(fs.realpath(sessions))
  if (!inside || (hidden !== undefined && isWithin(hidden, real))) {
    throw outsideStoreError()
  }
}

/** The rules for names allow 255 bytes a segment and 2,200 in all; file systems may take fewer, and links go in circles. */
function rejectUnsupportedName(error: unknown): never {
  if (errno(error) !== 'ENAMETOOLONG' && errno(error) !== 'ELOOP') throw error
  throw new BitsError('invalid-destination', 'The file system cannot have this name', { cause: error })
}

/** Also of a link that leads nowhere: behind that nothing can be made. */
const exists = async (fs: FileSystem, path: string): Promise<boolean> =>
  (await orAbsent(fs.lstat(path))) !== undefined

/** Makes the folders that a name needs. Their names are as durable as the file is to be. */
async function makeFolders(
  fs: FileSystem,
  { root }: Directories,
  path: string,
  durable: boolean,
): Promise<void> {
  let folder = dirname(path)
  await fs.mkdir(folder, { recursive: true })
  // All of them, for a crash may have left some that were made and not synced.
  while (durable && folder !== root) {
    folder = dirname(folder)
    await syncDirectory(fs, folder)
  }
}

const outsideStoreError = () =>
  new BitsError('invalid-destination', 'The destination lies outside of the store')

/**
 * Resolves the destination of a session and checks that its file may be published there.
 * @throws {BitsError} `destination-not-found`, `invalid-destination` or `destination-exists`
 */
export async function checkDestination(
  fs: FileSystem,
  directories: Directories,
  { name, overwrite }: NewSession,
): Promise<string> {
  const path = destinationPath(directories, name)
  let found: FileStatus | undefined
  let target: FileStatus | undefined
  try {
    if (dirname(path) !== directories.root) await checkFolders(fs, directories, path)
    found = await orAbsent(fs.lstat(path))
    target = found?.isSymbolicLink() ? await orAbsent(fs.stat(path)) : found
  } catch (error) {
    rejectUnsupportedName(error)
  }
  if (target?.isDirectory()) throw new BitsError('invalid-destination', 'The destination is a directory')
  if (found && !overwrite) throw new BitsError('destination-exists')
  return path
}

/** What there is to be done around a publication. */
export interface PlaceOptions {
  /** A name beside the part, on its file system, that nobody else uses. */
  readonly linkPath: string
  /** Whether the names of new folders must survive a loss of power. */
  readonly durable: boolean
  /** Sees to it that the new name survives one, if it must. */
  syncNames(folder: string): Promise<void>
  /** Called before a copy appears beside the destination: {@link temporaryCopyPath} names it. */
  beforeCopy(): Promise<void>
}

/**
 * Makes a complete part stand at its destination too, atomically. The part stays: as long as it does, and the session is
 * not known to be published, this may be called again, and goes on where a crash ended it.
 */
export async function publishFile(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  part: string,
  { linkPath, durable, syncNames, beforeCopy }: PlaceOptions,
): Promise<void> {
  const path = destinationPath(directories, session.name)
  if (dirname(path) !== directories.root) {
    await checkFolders(fs, directories, path).catch(rejectUnsupportedName)
    if (directories.createFolders) await makeFolders(fs, directories, path, durable)
  }
  const copy = () => temporaryCopyPath(directories, session)
  // After a crash it may be in its place already, under this name or that.
  const isPlaced = async () => (await isSameFile(fs, part, path)) || (await isSameFile(fs, copy(), path))
  // Only what replaces has to know it before: a rename over another name of the same file would leave both.
  if (!session.overwrite || !(await isPlaced())) {
    try {
      if (session.overwrite) await replaceFile(fs, part, path, linkPath)
      else await putExclusively(fs, part, path)
    } catch (error) {
      // Or somebody who does not see our locks has placed it at the same time.
      if (!(await isPlaced())) {
        if (errno(error) !== 'EXDEV') throw error
        await beforeCopy()
        await placeCopy(fs, part, path, copy(), session.overwrite)
      }
    }
  }
  await syncNames(dirname(path))
}

/** The hidden name beside the destination that a copy travels under, and that a crash may have left it at. */
export const temporaryCopyPath = ({ root }: Directories, { name, id }: NewSession): string =>
  join(dirname(join(root, ...name.split('/'))), `.${id}.part`)

/** Between two file systems the bytes travel to a hidden name first, so that the last step is atomic again. */
async function placeCopy(fs: FileSystem, part: string, path: string, copy: string, overwrite: boolean) {
  try {
    await orAbsent(fs.unlink(copy))
    await fs.copyFile(part, copy)
    await withFile(fs, copy, 'r+', (fd) => fs.fsync(fd))
    if (overwrite) await renameOver(fs, copy, path)
    else await putExclusively(fs, copy, path)
  } catch (error) {
    await orAbsent(fs.unlink(copy))
    throw error
  }
}

/** A second name of the part replaces the file, so that the part is still there to tell what was done. */
async function replaceFile(fs: FileSystem, part: string, path: string, linkPath: string): Promise<void> {
  await orAbsent(fs.unlink(linkPath))
  try {
    await fs.link(part, linkPath)
  } catch (error) {
    if (!hasNoLinks(error)) throw error
    return renameOver(fs, part, path)
  }
  await renameOver(fs, linkPath, path).catch(async (error) => {
    await orAbsent(fs.unlink(linkPath))
    throw error
  })
}

async function renameOver(fs: FileSystem, source: string, path: string): Promise<void> {
  await fs.rename(source, path).catch((error) => {
    if (errno(error) !== 'EISDIR' && errno(error) !== 'ENOTEMPTY') throw error
    throw new BitsError('invalid-destination', 'The destination is a directory', { cause: error })
  })
}

/** rename() would replace whatever stands at the path; link() never does. */
async function putExclusively(fs: FileSystem, source: string, path: string): Promise<void> {
  try {
    await fs.link(source, path)
  } catch (error) {
    if (errno(error) === 'EEXIST') throw new BitsError('destination-exists', undefined, { cause: error })
    if (!hasNoLinks(error)) throw error
    throw new Error('Publishing without overwrite needs a file system with hard links', { cause: error })
  }
}

const hasNoLinks = (error: unknown): boolean =>
  ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(errno(error) ?? '')

async function isSameFile(fs: FileSystem, a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([orAbsent(fs.lstat(a)), orAbsent(fs.lstat(b))])
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev
}

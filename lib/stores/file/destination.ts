import platform, { dirname, join } from 'node:path'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import { errno, type FileStatus, type FileSystem, orAbsent, syncDirectory } from './file-system.ts'

/** The two directories of a file store, as absolute paths. */
export interface Directories {
  readonly root: string
  readonly sessions: string
  /** Whether `publish` creates the missing folders of a name. */
  readonly createFolders: boolean
}

/** Whether a path is the folder, or inside it. */
export function isWithin(folder: string, path: string, { relative, sep, isAbsolute } = platform): boolean {
  const steps = relative(folder, path)
  // Between two drives of Windows, `relative` returns the path itself.
  return steps !== '..' && !steps.startsWith(`..${sep}`) && !isAbsolute(steps)
}

/**
 * The path to publish a file at. The segments of its name were validated before.
 * @throws {BitsError} `invalid-destination` inside the session directory
 */
export function destinationPath({ root, sessions }: Directories, name: string): string {
  const path = join(root, ...name.split('/'))
  if (isInside(sessions, path)) throw outsideStoreError()
  return path
}

/**
 * Like `isWithin`, for a folder that is not the root and paths without `..`. Ignores letter case, so that all
 * platforms accept the same names.
 */
function isInside(folder: string, path: string): boolean {
  const [parent, child] = [folder.toLowerCase(), path.toLowerCase()]
  return child.startsWith(parent) && (child.length === parent.length || child[parent.length] === platform.sep)
}

/**
 * Checks the folders of a path with `realpath`. It finds what a check of the name cannot: links that lead out
 * of the root, and short names (`BITS-S~1`) or letter case that lead into the session directory.
 */
export async function checkFolders(
  fs: FileSystem,
  directories: Directories,
  path: string,
  session: NewSession,
): Promise<void> {
  const { root, sessions, createFolders } = directories
  let folder = dirname(path)
  // Missing folders will be created in the last one that exists.
  if (createFolders) while (folder !== root && !(await exists(fs, folder))) folder = dirname(folder)
  const [real, status] = await Promise.all([orAbsent(fs.realpath(folder)), orAbsent(fs.stat(folder))])
  if (folder === root && !status) return
  if (real === undefined || !status?.isDirectory()) throw missingFolderError(session)
  const isInRoot = isWithin(await fs.realpath(root), real)
  const realSessions = await orAbsent(fs.realpath(sessions))
  if (!isInRoot || (realSessions !== undefined && isWithin(realSessions, real))) throw outsideStoreError()
}

/**
 * The folder of a name is missing, or is no folder. If the name is the whole path of the URL, the first folder
 * may be the path at which the application calls the middleware: Express and Connect remove it from `req.url`,
 * other routers may not.
 */
function missingFolderError({ name, path }: NewSession): BitsError {
  const folder = name.slice(0, name.lastIndexOf('/'))
  const [first = ''] = folder.split('/')
  const hint =
    path === `/${name}`
      ? `; or, if the middleware is mounted at /${first}, remove /${first} from req.url, as app.use('/${first}', …) and mount('/${first}', …) do`
      : ''
  return new BitsError(
    'destination-not-found',
    `The folder '${folder}' does not exist: create it, or set createFolders${hint}`,
  )
}

/**
 * Rejects a name that the file system does not support. Names may have 255 bytes per segment and 2,200 in
 * all, but a file system may allow fewer, and links may form a loop.
 */
export function rejectUnsupportedName(error: unknown): never {
  if (errno(error) !== 'ENAMETOOLONG' && errno(error) !== 'ELOOP') throw error
  throw new BitsError('invalid-destination', 'The file system does not support this name', { cause: error })
}

/** True also for a link without a target: no folder can be created at its path. */
export const exists = async (fs: FileSystem, path: string): Promise<boolean> =>
  (await orAbsent(fs.lstat(path))) !== undefined

/** Creates the missing folders of a path, durably if the file must be durable. */
export async function makeFolders(
  fs: FileSystem,
  { root }: Directories,
  path: string,
  durable: boolean,
): Promise<void> {
  let folder = dirname(path)
  await fs.mkdir(folder, { recursive: true })
  // All of them, because a crash may have left folders that were created but not synced.
  while (durable && folder !== root) {
    folder = dirname(folder)
    await syncDirectory(fs, folder)
  }
}

const outsideStoreError = () =>
  new BitsError('invalid-destination', 'The destination is outside the upload directory')

/**
 * Resolves the destination of a session and checks that its file may be published there.
 * @throws {BitsError} `destination-not-found`, `invalid-destination` or `destination-exists`
 */
export async function checkDestination(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
): Promise<string> {
  const { name, overwrite } = session
  const path = destinationPath(directories, name)
  let existing: FileStatus | undefined
  let target: FileStatus | undefined
  try {
    if (dirname(path) !== directories.root) await checkFolders(fs, directories, path, session)
    existing = await orAbsent(fs.lstat(path))
    target = existing?.isSymbolicLink() ? await orAbsent(fs.stat(path)) : existing
  } catch (error) {
    rejectUnsupportedName(error)
  }
  if (target?.isDirectory()) throw new BitsError('invalid-destination', 'The destination is a directory')
  if (existing && !overwrite) throw new BitsError('destination-exists')
  return path
}

import { dirname, join, relative, sep } from 'node:path'
import { BitsError } from '../protocol/errors.ts'
import { errno, type FileSystem, orAbsent, syncDirectory, withFile } from './file-system.ts'
import type { NewSession } from './store.ts'

/** The two directories of a file store, as absolute paths. */
export interface Directories {
  readonly root: string
  readonly sessions: string
}

const within = (folder: string, path: string): boolean => {
  const steps = relative(folder, path)
  return steps === '' || (steps !== '..' && !steps.startsWith(`..${sep}`) && !steps.startsWith(sep))
}

/**
 * The path at which a session's file is to stand.
 *
 * The name's segments were checked before; what is left is what the file system alone knows: links that lead out of
 * the root, short names (`BITS-S~1`) and letter case that lead into the sessions' directory.
 */
async function resolve(fs: FileSystem, { root, sessions }: Directories, name: string): Promise<string> {
  const path = join(root, ...name.split('/'))
  if (within(sessions, path)) throw outside()
  const folder = dirname(path)
  if (folder === root) return path
  const [real, found] = await Promise.all([orAbsent(fs.realpath(folder)), orAbsent(fs.stat(folder))])
  if (real === undefined || !found?.isDirectory()) throw new BitsError('destination-not-found')
  const inside = within(await fs.realpath(root), real)
  const hidden = await orAbsent(fs.realpath(sessions))
  if (!inside || (hidden !== undefined && within(hidden, real))) {
    throw outside()
  }
  return path
}

const outside = () => new BitsError('invalid-destination', 'The destination lies outside of the store')

/**
 * Resolves the destination of a session and checks that its file may be published there.
 * @throws {BitsError} `destination-not-found`, `invalid-destination` or `destination-exists`
 */
export async function checkDestination(
  fs: FileSystem,
  directories: Directories,
  { name, overwrite }: NewSession,
): Promise<string> {
  const path = await resolve(fs, directories, name)
  const found = await orAbsent(fs.lstat(path)).catch((error) => {
    // The rules for names allow 255 bytes; some file systems (eCryptfs) take fewer.
    if (errno(error) === 'ENAMETOOLONG') {
      throw new BitsError('invalid-destination', 'The name is too long', { cause: error })
    }
    throw error
  })
  const target = found?.isSymbolicLink() ? await orAbsent(fs.stat(path)) : found
  if (target?.isDirectory()) throw new BitsError('invalid-destination', 'The destination is a directory')
  if (found && !overwrite) throw new BitsError('destination-exists')
  return path
}

/**
 * Moves a complete, synced part to its destination, atomically, and makes the new name durable. Called again after a
 * crash it goes on where it was.
 *
 * @param beforeCopy called before a copy appears beside the destination: {@link strayCopy} names it
 */
export async function moveToDestination(
  fs: FileSystem,
  directories: Directories,
  session: NewSession,
  part: string,
  beforeCopy: () => Promise<void>,
): Promise<void> {
  const path = await resolve(fs, directories, session.name)
  const copy = strayCopy(directories, session)
  const put = session.overwrite ? replace : putExclusively
  try {
    await put(fs, part, path, copy)
  } catch (error) {
    if (errno(error) !== 'EXDEV') throw error
    // Between two file systems the bytes travel to a hidden name first, so that the last step is atomic again.
    await beforeCopy()
    // After a crash the copy may be in its place already.
    if (!(await isSameFile(fs, copy, path))) {
      await copySynced(fs, part, copy)
      await put(fs, copy, path, copy).catch(async (failure) => {
        await orAbsent(fs.unlink(copy))
        throw failure
      })
    }
    await fs.unlink(part)
    await orAbsent(fs.unlink(copy))
  }
  // Until the part is gone the session does not count as published; a rename took it along.
  await orAbsent(fs.unlink(part))
  await syncDirectory(fs, dirname(path))
}

/** The hidden name beside the destination that a copy travels under, and that a crash may have left it at. */
export const strayCopy = ({ root }: Directories, { name, id }: NewSession): string =>
  join(dirname(join(root, ...name.split('/'))), `.${id}.part`)

async function copySynced(fs: FileSystem, part: string, copy: string): Promise<void> {
  // What a crash left of an earlier copy.
  await orAbsent(fs.unlink(copy))
  await fs.copyFile(part, copy)
  await withFile(fs, copy, 'r+', (fd) => fs.fsync(fd))
}

async function replace(fs: FileSystem, source: string, path: string): Promise<void> {
  await fs.rename(source, path).catch((error) => {
    if (errno(error) !== 'EISDIR' && errno(error) !== 'ENOTEMPTY') throw error
    throw new BitsError('invalid-destination', 'The destination is a directory', { cause: error })
  })
}

/** rename() would replace whatever stands at the path; link() never does. */
async function putExclusively(fs: FileSystem, source: string, path: string, copy: string): Promise<void> {
  await fs.link(source, path).catch(async (error) => {
    switch (errno(error)) {
      case 'EEXIST': {
        // After a crash between link and unlink it is our own file that stands there.
        const ours = (await isSameFile(fs, source, path)) || (await isSameFile(fs, copy, path))
        if (!ours) throw new BitsError('destination-exists', undefined, { cause: error })
        return
      }
      case 'EPERM':
      case 'ENOSYS':
      case 'ENOTSUP':
        throw new Error('Publishing without overwrite needs a file system with hard links', { cause: error })
      default:
        throw error
    }
  })
}

async function isSameFile(fs: FileSystem, a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([orAbsent(fs.lstat(a)), orAbsent(fs.lstat(b))])
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev
}

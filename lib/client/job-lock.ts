import { lstat, mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Lock } from '../locks/locker.ts'
import { type ProcessLocker, processLocker } from '../locks/process.ts'

/**
 * The folder for the locks of the job files beside it. It exists while one of them is in use. Each user has one, because
 * several users may have job files in a folder such as /tmp.
 */
const LocksFolder = `.bits-job-locks-${process.geteuid?.() ?? 0}`
/** Milliseconds after the last use of a folder, in which the next upload can use it without opening it again. */
const CloseDelayMs = 100

interface FolderLocker {
  readonly locker: ProcessLocker
  users: number
  timer?: NodeJS.Timeout
}

/** By folder of job files. */
const lockers = new Map<string, FolderLocker>()

/**
 * Locks a job file for this process.
 * @param path absolute
 * @throws the signal's reason while another process holds the lock
 */
export async function lockJobFile(path: string, signal: AbortSignal): Promise<Lock> {
  const folder = dirname(path)
  const used = useLocker(folder)
  try {
    // The name alone, because containers may have the folder at different paths.
    const lock = await used.locker.acquire(basename(path), { signal })
    let isReleased = false
    const release = async (): Promise<void> => {
      if (isReleased) return
      isReleased = true
      await lock.release().finally(() => endUse(folder, used))
    }
    return { release }
  } catch (error) {
    endUse(folder, used)
    throw error
  }
}

const openLocker = (path: string): ProcessLocker => processLocker(path, () => createFolder(path))

/** Creates the folder. One that another user has created would let that user hold and see the locks. */
async function createFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  const status = await lstat(path)
  const isOwn =
    process.geteuid === undefined || (status.uid === process.geteuid() && (status.mode & 0o077) === 0)
  if (!status.isDirectory() || !isOwn) {
    throw new Error(`${path} must be a directory of this user, with mode 0700: remove it`)
  }
}

function useLocker(folder: string): FolderLocker {
  const used = lockers.get(folder) ?? { locker: openLocker(join(folder, LocksFolder)), users: 0 }
  lockers.set(folder, used)
  clearTimeout(used.timer)
  used.users += 1
  return used
}

function endUse(folder: string, used: FolderLocker): void {
  used.users -= 1
  if (used.users > 0) return
  // It keeps the process running, so that the folder is removed.
  used.timer = setTimeout(() => {
    lockers.delete(folder)
    // A folder that was removed needs no clean-up.
    used.locker.close().catch(() => {})
  }, CloseDelayMs)
}

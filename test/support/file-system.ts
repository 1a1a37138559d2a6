import { readdir, readlink } from 'node:fs/promises'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file/file-system.ts'

/** The real file system with some calls replaced. */
export const withCalls = (calls: Partial<FileSystem>): FileSystem => ({ ...nodeFileSystem, ...calls })

/** Throws an error as a file system call does. */
export const failing = (code: string): never => {
  throw Object.assign(new Error(`${code}: thrown by the test`), { code })
}

/**
 * The real file system, and the descriptors that are open, that were closed (in this order), and that were
 * closed while they were not open (`strays`).
 */
export function watchedFileSystem() {
  const open = new Set<number>()
  const closed: number[] = []
  const strays: number[] = []
  const recordClose = (fd: number): void => {
    if (open.delete(fd)) closed.push(fd)
    else strays.push(fd)
  }
  const fileSystem = withCalls({
    open: async (...args) => {
      const fd = await nodeFileSystem.open(...args)
      open.add(fd)
      return fd
    },
    close: async (fd) => {
      recordClose(fd)
      await nodeFileSystem.close(fd)
    },
  })
  return { fileSystem, open, closed, strays }
}

/** The files below a directory that this process has open, also removed ones. On Linux only. */
export async function openBelow(directory: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd')
  const paths = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return paths.filter((path) => path.startsWith(`${directory}/`))
}

import { type FileSystem, nodeFileSystem } from '../../lib/stores/file/file-system.ts'

/** The real file system, but for some calls. */
export const withCalls = (calls: Partial<FileSystem>): FileSystem => ({ ...nodeFileSystem, ...calls })

/** Fails as a call to the file system does. */
export const failing = (code: string): never => {
  throw Object.assign(new Error(`${code}: made by the test`), { code })
}

/**
 * The real file system, with the descriptors that are open, those that were closed, in either way, in their order, and those
 * that were closed when they were not open.
 */
export function watchedFileSystem() {
  const open = new Set<number>()
  const closed: number[] = []
  const strays: number[] = []
  const forget = (fd: number): void => {
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
      forget(fd)
      await nodeFileSystem.close(fd)
    },
    closeSync: (fd) => {
      forget(fd)
      nodeFileSystem.closeSync?.(fd)
    },
  })
  return { fileSystem, open, closed, strays }
}

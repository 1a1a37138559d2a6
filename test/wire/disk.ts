/** Reads the directory of a file store; a file system that counts written bytes and can be full. */

import { readdir, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { sessionFileNames } from '../support/directory.ts'

const sessionsIn = (directory: string): string => join(directory, '.bits-sessions')

/** The file with a session's bytes until it is published. */
export const partOf = (directory: string, id: string): string => join(sessionsIn(directory), `${id}.part`)

/** Names of the files that sessions have on disk. */
export async function sessionFiles(directory: string): Promise<string[]> {
  return (await sessionFileNames(sessionsIn(directory)).catch(() => [])).sort()
}

/** Names of the files of one session. */
export async function filesOf(directory: string, id: string): Promise<string[]> {
  return (await sessionFiles(directory)).filter((name) => name.includes(id))
}

/** All names in the directory, with folders, except those of the sessions. */
export async function published(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true })
  return names.filter((name) => !name.startsWith('.bits-sessions')).sort()
}

/** Sets the times of a session's files back, as if it had been idle since then. */
export async function age(directory: string, id: string, milliseconds: number): Promise<void> {
  for (const name of await filesOf(directory, id)) {
    const path = join(sessionsIn(directory), name)
    const { atimeMs, mtimeMs } = await stat(path)
    await utimes(path, (atimeMs - milliseconds) / 1000, (mtimeMs - milliseconds) / 1000)
  }
}

/** The last modification time of each file of a session. */
export async function timesOf(directory: string, id: string): Promise<number[]> {
  const paths = (await filesOf(directory, id)).map((name) => join(sessionsIn(directory), name))
  return Promise.all(paths.map(async (path) => (await stat(path)).mtimeMs))
}

/** The real file system, which counts the bytes of fragments and limits them. */
export class MeteredDisk {
  /** Bytes of fragments written so far. */
  written = 0
  /** Bytes that still fit. */
  space = Number.POSITIVE_INFINITY
  #onWrite: (() => void) | undefined

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    writev: async (fd, buffers, position) => {
      const bytes = Buffer.concat(buffers)
      if (this.space === 0) throw full()
      const fits = bytes.subarray(0, Math.min(bytes.length, this.space))
      const count = await nodeFileSystem.writev(fd, [fits], position)
      this.space -= count
      this.written += count
      this.#onWrite?.()
      return count
    },
    write: async (fd, text) => {
      if (this.space === 0) throw full()
      await nodeFileSystem.write(fd, text)
    },
  }

  /** Resolves when files contain `count` bytes of fragments. */
  async holds(count: number): Promise<void> {
    while (this.written < count) {
      await new Promise<void>((resolve) => {
        this.#onWrite = resolve
      })
    }
  }
}

const full = (): Error =>
  Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' })

import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoring, LockFiles } from './lock-files.ts'
import { LockServer } from './lock-server.ts'
import { isWithoutSockets, MachineFile } from './machine-file.ts'
import type { MemoryLocker } from './memory.ts'
import { isListening } from './query.ts'
import { type SocketAddresses, SocketExtension, socketAddresses } from './socket-address.ts'

/** Age in milliseconds from which a socket at which nothing listens is removed. A younger one may be about to listen. */
const SocketOrphanAgeMs = 60_000

/** The part of a process in the locks of a directory. */
export interface SharedDirectory {
  readonly server: LockServer
  readonly files: LockFiles
}

/** A directory in which this process takes part in locks. */
export class LockDirectory {
  /** Undefined if the directory cannot have sockets: then no other process may use it. */
  readonly shared: SharedDirectory | undefined
  readonly #machineFile: MachineFile
  readonly #addresses: SocketAddresses

  private constructor(
    shared: SharedDirectory | undefined,
    machineFile: MachineFile,
    addresses: SocketAddresses,
  ) {
    this.shared = shared
    this.#machineFile = machineFile
    this.#addresses = addresses
  }

  /**
   * @param directory exists
   * @param local the locks within this process
   * @param onLost called when the socket of this process was removed, for example with its directory
   * @throws an `Error` if a process that cannot be reached uses the directory, and the system's error
   */
  static async open(directory: string, local: MemoryLocker, onLost: () => void): Promise<LockDirectory> {
    const addresses = await socketAddresses(directory)
    let server: LockServer | undefined
    try {
      server = await LockServer.open(addresses, local).catch((error) => {
        if (!isWithoutSockets(error)) throw error
        return undefined
      })
      const machineFile = new MachineFile(directory, server !== undefined)
      await machineFile.open()
      const shared = server && { server, files: new LockFiles(directory, server.tag) }
      if (shared) await removeOrphans(directory, addresses, shared)
      machineFile.keep(() => {
        if (server && addresses.areFiles) stat(addresses.of(server.tag)).catch(onLost)
      })
      return new LockDirectory(shared, machineFile, addresses)
    } catch (error) {
      await server?.close()
      addresses.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.shared?.server.close()
    this.#addresses.close()
    await this.#machineFile.close()
  }
}

/** Removes the lock files and the sockets of processes that have exited. */
async function removeOrphans(
  directory: string,
  addresses: SocketAddresses,
  { server, files }: SharedDirectory,
): Promise<void> {
  const running = new Map<string, Promise<boolean>>()
  const isRunning = (tag: string): Promise<boolean> => {
    const answer = running.get(tag) ?? isListening(addresses.of(tag))
    running.set(tag, answer)
    return answer
  }
  await files.removeOrphans(isRunning)
  if (!addresses.areFiles) return
  const { mtimeMs: now } = await stat(addresses.of(server.tag))
  for (const name of await readdir(directory)) {
    if (!name.endsWith(SocketExtension)) continue
    const path = join(directory, name)
    const status = await stat(path).catch(ignoring('ENOENT'))
    if (!status || now - status.mtimeMs < SocketOrphanAgeMs) continue
    if (!(await isRunning(name.slice(0, -SocketExtension.length))))
      await unlink(path).catch(ignoring('ENOENT'))
  }
}

import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { LocalLocks } from './local-locks.ts'
import { ignoring, systemCode } from './lock-files.ts'
import { LockServer } from './lock-server.ts'
import { isWithoutSockets, MachineFile } from './machine-file.ts'
import { isListening } from './query.ts'
import { type SocketAddresses, SocketExtension, socketAddresses } from './socket-address.ts'

/** Age in milliseconds from which a socket at which nothing listens is removed. A younger one may be about to listen. */
const SocketOrphanAgeMs = 5_000

/** A directory in which this process takes part in locks. */
export class LockDirectory {
  /** Undefined if the directory cannot have sockets: then no other process may use it. */
  readonly server: LockServer | undefined
  readonly #machineFile: MachineFile
  readonly #addresses: SocketAddresses

  private constructor(server: LockServer | undefined, machineFile: MachineFile, addresses: SocketAddresses) {
    this.server = server
    this.#machineFile = machineFile
    this.#addresses = addresses
  }

  /**
   * @param path of the directory, which exists
   * @param local the locks within this process
   * @throws an `Error` if a process that cannot be reached uses the directory, and the system's error
   */
  static async open(path: string, local: LocalLocks): Promise<LockDirectory> {
    const addresses = await socketAddresses(path)
    let server: LockServer | undefined
    let machineFile: MachineFile | undefined
    try {
      server = await LockServer.open(path, local, addresses).catch((error) => {
        if (!isWithoutSockets(error)) throw error
        return undefined
      })
      machineFile = new MachineFile(path, server?.tag, (tag) => isListening(addresses.of(tag)))
      await machineFile.open()
      if (server) await removeOrphans(path, addresses, server)
      return new LockDirectory(server, machineFile, addresses)
    } catch (error) {
      await server?.close()
      addresses.close()
      await machineFile?.close()
      throw error
    }
  }

  /**
   * @param onLost called when this process can no longer take part: its socket was removed, for example with the
   * directory, or another machine has begun to use the directory
   */
  watch(onLost: () => void): void {
    const { server } = this
    const checkSocket = async (): Promise<void> => {
      if (!server || !this.#addresses.areFiles) return
      const error = await stat(this.#addresses.of(server.tag)).catch((reason) => reason)
      if (systemCode(error) === 'ENOENT') onLost()
    }
    this.#machineFile.keep(() => void checkSocket(), onLost)
  }

  async close(): Promise<void> {
    await this.server?.close()
    this.#addresses.close()
    await this.#machineFile.close()
  }
}

/** Removes the lock files and the sockets of processes that have exited. */
async function removeOrphans(path: string, addresses: SocketAddresses, server: LockServer): Promise<void> {
  const running = new Map<string, Promise<boolean>>()
  const isRunning = (tag: string): Promise<boolean> => {
    const answer = running.get(tag) ?? isListening(addresses.of(tag))
    running.set(tag, answer)
    return answer
  }
  await server.files.removeOrphans(isRunning)
  if (!addresses.areFiles) return
  const { mtimeMs: now } = await stat(addresses.of(server.tag))
  for (const name of await readdir(path)) {
    if (!name.endsWith(SocketExtension)) continue
    const socketPath = join(path, name)
    const status = await stat(socketPath).catch(ignoring('ENOENT'))
    if (!status || now - status.mtimeMs < SocketOrphanAgeMs) continue
    const tag = name.slice(0, -SocketExtension.length)
    if (!(await isRunning(tag))) await unlink(socketPath).catch(ignoring('ENOENT'))
  }
}

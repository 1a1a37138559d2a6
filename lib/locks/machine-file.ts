import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ignoring, systemCode } from './lock-files.ts'

/** Milliseconds between two writes of the file of a machine. */
const WriteEveryMs = 5_000
/** Age in milliseconds from which a file of another machine is old: nothing writes it any more. */
const OldAfterMs = 30_000
/** Milliseconds for which a newer file of another machine is watched: three writes. */
const WatchMs = 3 * WriteEveryMs
const PollEveryMs = 1_000

const Extension = '.machine'

/** Identifies the running kernel, whose processes can reach each other by socket files. */
function kernelId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return `host-${hostname().replace(/[^\w-]/g, '-')}`
  }
}

/**
 * A file of this machine in a directory, written every five seconds. By it a process notices that another machine uses
 * the directory, through a network file system: the two cannot ask each other for their locks. Processes that cannot use
 * sockets have a file each, because they cannot ask any other process either.
 */
export class MachineFile {
  readonly #directory: string
  readonly #name: string
  #timer: NodeJS.Timeout | undefined

  /** @param hasSockets whether the directory can have sockets */
  constructor(directory: string, hasSockets: boolean) {
    this.#directory = directory
    const single = hasSockets ? '' : `-${randomBytes(6).toString('hex')}`
    this.#name = `${kernelId()}${single}${Extension}`
  }

  /**
   * Writes the file, and checks for those of others.
   * @throws an `Error` if another machine, or a process without sockets, uses the directory
   */
  async open(): Promise<void> {
    await this.#write()
    try {
      const { mtimeMs: now } = await stat(join(this.#directory, this.#name))
      const others = (await readdir(this.#directory)).filter(
        (name) => name.endsWith(Extension) && name !== this.#name,
      )
      await Promise.all(others.map((name) => this.#assertOld(name, now)))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Writes the file from now on. `onWritten` is called after each attempt. */
  keep(onWritten: () => void): void {
    this.#timer = setInterval(() => {
      this.#write()
        .catch(() => {})
        .then(onWritten)
    }, WriteEveryMs).unref()
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    // Other processes of this machine write it again.
    await unlink(join(this.#directory, this.#name)).catch(() => {})
  }

  /** A write, because `utimes` would set the time of this machine, and not that of the file server. */
  #write(): Promise<void> {
    return writeFile(join(this.#directory, this.#name), `${hostname()} ${process.pid}\n`, { mode: 0o600 })
  }

  async #assertOld(name: string, now: number): Promise<void> {
    const path = join(this.#directory, name)
    const first = await stat(path).catch(ignoring('ENOENT'))
    if (!first) return
    const end = now - first.mtimeMs > OldAfterMs ? 0 : performance.now() + WatchMs
    while (performance.now() < end) {
      await delay(PollEveryMs)
      const latest = await stat(path).catch(ignoring('ENOENT'))
      if (!latest) return
      if (latest.mtimeMs !== first.mtimeMs) throw await sharedError(path, this.#directory)
    }
    await unlink(path).catch(ignoring('ENOENT'))
  }
}

async function sharedError(path: string, directory: string): Promise<Error> {
  const [host = '', pid = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ')
  return Object.assign(
    new Error(
      `${directory} is in use by another process that cannot be reached through a socket there (host ${host}, process ` +
        `${pid}), so uploads could be damaged: use a directory on a local file system of one machine, run one process, ` +
        `or use an object store`,
    ),
    { code: 'DIRECTORY_IN_USE' },
  )
}

/** Whether an error means that a directory cannot have sockets. */
export const isWithoutSockets = (error: unknown): boolean =>
  ['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EINVAL', 'ENOSYS', 'ENXIO'].includes(String(systemCode(error)))

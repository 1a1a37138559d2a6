import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ignoring, systemCode } from './lock-files.ts'
import { SocketExtension } from './socket-address.ts'

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
  readonly #content: string
  readonly #isReachable: (tag: string) => Promise<boolean>
  /** The times of the files of other machines at the last check. */
  #others = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  /**
   * @param tag of this process; undefined if the directory cannot have sockets
   * @param isReachable whether the process with a tag listens at its socket: then it is on this machine, although its
   * container has another boot id
   */
  constructor(directory: string, tag: string | undefined, isReachable: (tag: string) => Promise<boolean>) {
    this.#directory = directory
    const single = tag === undefined ? `-${randomBytes(6).toString('hex')}` : ''
    this.#name = `${kernelId()}${single}${Extension}`
    this.#content = `${hostname()} ${process.pid} ${tag ?? ''}\n`
    this.#isReachable = isReachable
  }

  /**
   * Writes the file, and checks for those of others.
   * @throws an `Error` if another machine, or a process without sockets, uses the directory
   */
  async open(): Promise<void> {
    await this.#write()
    try {
      const { mtimeMs: now } = await stat(this.#path(this.#name))
      await Promise.all((await this.#otherNames()).map((name) => this.#assertOld(name, now)))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * Writes the file from now on.
   * @param onTick called after each write
   * @param onConflict called when another machine has begun to use the directory while this process was stopped
   */
  keep(onTick: () => void, onConflict: () => void): void {
    this.#timer = setInterval(async () => {
      try {
        if (await this.#hasConflict()) return onConflict()
        this.#writing = this.#write()
        await this.#writing
      } catch {
        // The next tick tries again.
      }
      onTick()
    }, WriteEveryMs).unref()
  }

  /** Removes the file, unless other processes of the directory need it. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#writing.catch(() => {})
    const names = await readdir(this.#directory).catch((): string[] => [])
    if (!names.some((name) => name.endsWith(SocketExtension))) {
      await unlink(this.#path(this.#name)).catch(() => {})
    }
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  /** A write, because `utimes` would set the time of this machine, and not that of the file server. */
  #write(): Promise<void> {
    return writeFile(this.#path(this.#name), this.#content, { mode: 0o600 })
  }

  async #otherNames(): Promise<string[]> {
    const names = await readdir(this.#directory)
    return names.filter((name) => name.endsWith(Extension) && name !== this.#name)
  }

  async #assertOld(name: string, now: number): Promise<void> {
    const path = this.#path(name)
    const first = await stat(path).catch(ignoring('ENOENT'))
    if (!first || (await this.#isOnThisMachine(name))) return
    const end = now - first.mtimeMs > OldAfterMs ? 0 : performance.now() + WatchMs
    while (performance.now() < end) {
      await delay(PollEveryMs)
      const latest = await stat(path).catch(ignoring('ENOENT'))
      if (!latest) return
      if (latest.mtimeMs !== first.mtimeMs) throw await this.#conflict(name)
    }
    await unlink(path).catch(ignoring('ENOENT'))
  }

  /** Whether a file of another machine was written since the last check, or has replaced that of this machine. */
  async #hasConflict(): Promise<boolean> {
    const times = new Map<string, number>()
    for (const name of await this.#otherNames()) {
      const status = await stat(this.#path(name)).catch(ignoring('ENOENT'))
      if (status && !(await this.#isOnThisMachine(name))) times.set(name, status.mtimeMs)
    }
    const previous = this.#others
    this.#others = times
    if (times.size === 0) return false
    const isRemoved = (await stat(this.#path(this.#name)).catch(ignoring('ENOENT'))) === undefined
    return isRemoved || [...times].some(([name, time]) => previous.has(name) && previous.get(name) !== time)
  }

  async #isOnThisMachine(name: string): Promise<boolean> {
    const { tag } = await this.#read(name)
    return tag !== undefined && this.#isReachable(tag)
  }

  async #read(name: string): Promise<{ host?: string; pid?: string; tag?: string }> {
    const text = await readFile(this.#path(name), 'utf8').catch(() => '')
    const [, host, pid, tag] = /^(\S+) (\d+)(?: ([0-9A-F]{6}))?/.exec(text) ?? []
    return { ...(host && { host }), ...(pid && { pid }), ...(tag && { tag }) }
  }

  async #conflict(name: string): Promise<Error> {
    const { host, pid } = await this.#read(name)
    const other = host === undefined ? '' : ` (process ${pid} on ${host})`
    const text =
      `${this.#directory} is in use by another process${other} that cannot be reached through a socket there, so files ` +
      'could be damaged: run one process, or use a directory on a local file system of one machine'
    return Object.assign(new Error(text), { code: 'DIRECTORY_IN_USE' })
  }
}

/** Whether an error means that a directory cannot have sockets. */
export const isWithoutSockets = (error: unknown): boolean =>
  ['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EINVAL', 'ENOSYS', 'ENXIO'].includes(String(systemCode(error)))

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

/** `starting`: the process checks for other machines. */
type MachineState = 'starting' | 'running'

interface MachineContent {
  readonly state: MachineState
  readonly host?: string | undefined
  readonly pid?: string | undefined
  readonly tag?: string | undefined
}

/** Files of other machines, by name, with the time when they were written. */
type SeenFiles = Map<string, { readonly time: number; readonly state: MachineState }>

/** The names of files that were written since, or are new. */
const changedSince = (previous: SeenFiles, latest: SeenFiles): string[] =>
  [...latest].filter(([name, { time }]) => previous.get(name)?.time !== time).map(([name]) => name)

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
  readonly #owner: string
  readonly #isReachable: (tag: string) => Promise<boolean>
  /** The files of other machines at the last check. */
  #others: SeenFiles = new Map()
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
    this.#owner = `${hostname()} ${process.pid} ${tag ?? ''}`
    this.#isReachable = isReachable
  }

  /**
   * Writes the file, and checks for those of others.
   * @throws an `Error` if another machine, or a process without sockets, uses the directory
   */
  async open(): Promise<void> {
    const own = await this.#read(this.#name)
    // Another process of this machine has done the check.
    const isChecked = own.state === 'running' && (await this.#isOnThisMachine(own))
    if (!isChecked) {
      try {
        await this.#check()
      } catch (error) {
        await this.close()
        throw error
      }
    }
    await this.#write('running')
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
        this.#writing = this.#write('running')
        await this.#writing
      } catch {
        // The next tick tries again.
      }
      onTick()
    }, WriteEveryMs).unref()
  }

  /** Removes the file, unless another process of this machine needs it. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#writing.catch(() => {})
    const names = await readdir(this.#directory).catch((): string[] => [])
    for (const name of names.filter((each) => each.endsWith(SocketExtension))) {
      if (await this.#isReachable(name.slice(0, -SocketExtension.length)).catch(() => true)) return
    }
    await unlink(this.#path(this.#name)).catch(() => {})
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  /** A write, because `utimes` would set the time of this machine, and not that of the file server. */
  #write(state: MachineState): Promise<void> {
    return writeFile(this.#path(this.#name), `${state} ${this.#owner}\n`, { mode: 0o600 })
  }

  /**
   * Watches the fresh files of other machines. Refuses if one that runs writes its file. Of several that start one
   * remains: that whose file has the lowest name.
   */
  async #check(): Promise<void> {
    await this.#write('starting')
    const first = await this.#look()
    const { mtimeMs: now } = await stat(this.#path(this.#name))
    const isFresh = [...first.values()].some(({ time }) => now - time <= OldAfterMs)
    const end = performance.now() + (isFresh ? WatchMs : 0)
    let previous = first
    while (performance.now() < end) {
      await delay(PollEveryMs)
      await this.#write('starting')
      const latest = await this.#look()
      const other = changedSince(previous, latest).find(
        (name) => latest.get(name)?.state === 'running' || name < this.#name,
      )
      if (other !== undefined) throw await this.#conflict(other)
      previous = latest
    }
    // Nothing has written them meanwhile.
    for (const [name, { time }] of first) {
      if (previous.get(name)?.time === time) await unlink(this.#path(name)).catch(ignoring('ENOENT'))
    }
  }

  /** The files of other machines. */
  async #look(): Promise<SeenFiles> {
    const seen: SeenFiles = new Map()
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith(Extension) || name === this.#name) continue
      const status = await stat(this.#path(name)).catch(ignoring('ENOENT'))
      const content = await this.#read(name)
      if (status && !(await this.#isOnThisMachine(content))) {
        seen.set(name, { time: status.mtimeMs, state: content.state })
      }
    }
    return seen
  }

  /** Whether another machine that runs has written its file since the last check, or has removed that of this machine. */
  async #hasConflict(): Promise<boolean> {
    const previous = this.#others
    const latest = await this.#look()
    this.#others = latest
    const running = [...latest].filter(([, { state }]) => state === 'running')
    if (running.length === 0) return false
    const isRemoved = (await stat(this.#path(this.#name)).catch(ignoring('ENOENT'))) === undefined
    const changed = changedSince(previous, latest)
    return isRemoved || running.some(([name]) => previous.has(name) && changed.includes(name))
  }

  async #isOnThisMachine({ tag }: MachineContent): Promise<boolean> {
    return tag !== undefined && this.#isReachable(tag)
  }

  async #read(name: string): Promise<MachineContent> {
    const text = await readFile(this.#path(name), 'utf8').catch(() => '')
    const [, state, host, pid, tag] = /^(starting|running) (\S+) (\d+)(?: ([0-9A-F]{6}))?/.exec(text) ?? []
    // An empty file is one that is being written.
    return state === undefined ? { state: 'running' } : { state: state as MachineState, host, pid, tag }
  }

  async #conflict(name: string): Promise<Error> {
    let { host, pid } = await this.#read(name)
    if (host === undefined) {
      // It was being written.
      await delay(PollEveryMs / 10)
      ;({ host, pid } = await this.#read(name))
    }
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

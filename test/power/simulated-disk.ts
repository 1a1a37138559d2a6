import { constants } from 'node:fs'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file/file-system.ts'

interface File {
  readonly kind: 'file'
  readonly ino: number
  bytes: Buffer
  /** The bytes at the last sync. */
  synced: Buffer
  modified: number
  /** When the inode last changed. Each change has a time of its own. */
  changed: number
}

interface Directory {
  readonly kind: 'directory'
  readonly ino: number
  entries: Map<string, Node>
  /** The entries at the last sync. */
  synced: Map<string, Node>
}

type Node = File | Directory

/** Returns the next number of a pseudo-random sequence, from 0 to 1. */
export type Random = () => number

const fail = (code: string): never => {
  throw Object.assign(new Error(`${code}: thrown by the simulated disk`), { code })
}

/**
 * A disk in memory that loses unsynced changes when the power fails. It models what POSIX guarantees and no
 * more: the bytes of a file and the entries of a directory are durable only after an fsync of that file or
 * directory, bytes also if they were written with O_DSYNC. Each unsynced change may exist or not,
 * independently of the others; bytes also in part or as zeros. A rename happens completely or not at all.
 */
export class SimulatedDisk {
  #inodes = 1
  #boots = 1
  #changes = 1
  readonly #open = new Map<number, { readonly node: Node; readonly isWriteSynced: boolean }>()
  #root: Directory = this.#directory()
  /** Renames of which neither directory was synced yet. */
  #renames: { from: Directory; to: Directory; name: string; newName: string; node: Node }[] = []
  /** Calls until the machine stops; then each call rejects. */
  #callsLeft = Number.POSITIVE_INFINITY
  calls = 0
  syncs = 0
  /** Writes with O_DSYNC. `syncs` includes them. */
  syncedWrites = 0

  /** Stops the machine at the call after this many calls. */
  stopAfter(calls: number): void {
    this.#callsLeft = calls
  }

  /** Starts a new process after a crash. No written byte is lost. */
  restart(): void {
    this.#callsLeft = Number.POSITIVE_INFINITY
    this.#open.clear()
  }

  /** Loses power, and starts the machine again. */
  losePower(random: Random): void {
    this.restart()
    this.#boots += 1
    // A directory keeps its synced entries, and a random choice of the unsynced changes.
    const renames = this.#renames.map((move) => ({ ...move, isLost: random() < 0.5 }))
    this.#renames = []
    const seen = new Set<Node>()
    const dropUnsynced = (node: Node): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (node.kind === 'file') {
        node.bytes = bytesAfterPowerLoss(node, random)
        node.synced = node.bytes
        return
      }
      const names = new Set([...node.entries.keys(), ...node.synced.keys()])
      const entries = new Map<string, Node>()
      for (const name of names) {
        // Both directories of a rename keep it, or neither.
        const rename = renames.find(
          (move) => (move.from === node && move.name === name) || (move.to === node && move.newName === name),
        )
        const isLost = rename ? rename.isLost : random() < 0.5
        const entry = (isLost ? node.synced : node.entries).get(name)
        if (entry) entries.set(name, entry)
      }
      node.entries = entries
      node.synced = new Map(entries)
      for (const child of entries.values()) dropUnsynced(child)
    }
    dropUnsynced(this.#root)
  }

  /** All files, by path. */
  files(): Map<string, Buffer> {
    const files = new Map<string, Buffer>()
    const walk = (path: string, { entries }: Directory): void => {
      for (const [name, node] of entries) {
        if (node.kind === 'file') files.set(`${path}/${name}`, node.bytes)
        else walk(`${path}/${name}`, node)
      }
    }
    walk('', this.#root)
    return files
  }

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    boot: () => `boot-${this.#boots}`,
    open: (path, flags) => this.#call(() => this.#openFile(path, flags)),
    close: async (fd) => {
      this.#open.delete(fd)
    },
    writev: (fd, buffers, position) =>
      this.#call(() => {
        const bytes = Buffer.concat(buffers)
        // A write is not atomic: the machine may stop during it.
        const isComplete = this.#callsLeft > 0
        this.#put(this.#file(fd), isComplete ? bytes : bytes.subarray(0, bytes.length >> 1), position)
        if (!isComplete) fail('EPOWER')
        if (this.#open.get(fd)?.isWriteSynced) this.#putSynced(this.#file(fd), bytes, position)
        return bytes.length
      }),
    write: (fd, text) =>
      this.#call(() => {
        const file = this.#file(fd)
        this.#put(file, Buffer.from(text), file.bytes.length)
      }),
    fdatasync: (fd) => this.#call(() => this.#sync(this.#handle(fd))),
    fsync: (fd) => this.#call(() => this.#sync(this.#handle(fd))),
    futimes: (fd, _, modified) =>
      this.#call(() => {
        const file = this.#file(fd)
        this.#change(file)
        file.modified = modified.getTime()
      }),
    ftruncate: (fd, length) =>
      this.#call(() => {
        const file = this.#file(fd)
        file.bytes = file.bytes.subarray(0, length)
        this.#change(file)
      }),
    fstat: (fd) => this.#call(() => this.#statusOf(this.#handle(fd))),
    stat: (path) => this.#call(() => this.#status(path)),
    lstat: (path) => this.#call(() => this.#status(path)),
    readFile: (path) =>
      this.#call(() => {
        const node = this.#find(path)
        return node?.kind === 'file' ? node.bytes.toString() : fail('ENOENT')
      }),
    link: (path, newPath) =>
      this.#call(() => {
        const node = this.#find(path) ?? fail('ENOENT')
        const [folder, name] = this.#place(newPath)
        if (folder.entries.has(name)) fail('EEXIST')
        folder.entries.set(name, node)
        this.#change(node)
      }),
    rename: (path, newPath) =>
      this.#call(() => {
        const [from, name] = this.#place(path)
        const [to, newName] = this.#place(newPath)
        const node = from.entries.get(name) ?? fail('ENOENT')
        if (to.entries.get(newName) === node) return
        from.entries.delete(name)
        to.entries.set(newName, node)
        this.#renames.push({ from, to, name, newName, node })
        this.#change(node)
      }),
    unlink: (path) =>
      this.#call(() => {
        const [folder, name] = this.#place(path)
        const node = folder.entries.get(name) ?? fail('ENOENT')
        folder.entries.delete(name)
        this.#change(node)
      }),
    copyFile: async () => fail('ENOSYS'),
    mkdir: (path) =>
      this.#call(() => {
        let folder = this.#root
        let at = ''
        let first: string | undefined
        for (const name of path.split('/').filter(Boolean)) {
          at += `/${name}`
          if (!folder.entries.has(name)) first ??= at
          const next = folder.entries.get(name) ?? this.#directory()
          folder.entries.set(name, next)
          folder = next as Directory
        }
        return first
      }),
    realpath: async (path) => path,
    opendir: (path) =>
      this.#call(() => {
        const node = this.#find(path)
        return node?.kind === 'directory' ? names([...node.entries.keys()]) : fail('ENOENT')
      }),
    createReadStream: (path, { start = 0, end = Number.POSITIVE_INFINITY } = {}) => {
      const node = this.#find(path)
      return Readable.from(node?.kind === 'file' ? [node.bytes.subarray(start, end + 1)] : fail('ENOENT'))
    },
  }

  async #call<T>(run: () => T): Promise<T> {
    if (this.#callsLeft < 0) fail('EPOWER')
    this.calls += 1
    this.#callsLeft -= 1
    if (this.#callsLeft < 0) fail('EPOWER')
    // Other calls may run meanwhile, as with a real disk.
    await new Promise<void>((resolve) => setImmediate(resolve))
    return run()
  }

  #directory(): Directory {
    return { kind: 'directory', ino: this.#inodes++, entries: new Map(), synced: new Map() }
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter(Boolean)) {
      node = node?.kind === 'directory' ? node.entries.get(name) : undefined
    }
    return node
  }

  #place(path: string): [Directory, string] {
    const folder = this.#find(dirname(path))
    if (folder?.kind !== 'directory') return fail('ENOENT')
    return [folder, path.slice(path.lastIndexOf('/') + 1)]
  }

  #openFile(path: string, flags: string | number): number {
    const existing = this.#find(path)
    const isCreated =
      flags === 'ax' || flags === 'w' || (typeof flags === 'number' && (flags & constants.O_CREAT) !== 0)
    if (flags === 'ax' && existing) fail('EEXIST')
    if (flags === 'w' && existing?.kind === 'file') existing.bytes = Buffer.alloc(0)
    let node = existing
    if (!node) {
      if (!isCreated) fail('ENOENT')
      const [folder, name] = this.#place(path)
      const nothing = Buffer.alloc(0)
      node = {
        kind: 'file',
        ino: this.#inodes++,
        bytes: nothing,
        synced: nothing,
        ...this.#times(),
      }
      folder.entries.set(name, node)
    }
    const fd = 1000 + this.#inodes++
    const isWriteSynced = typeof flags === 'number' && (flags & constants.O_DSYNC) !== 0
    this.#open.set(fd, { node, isWriteSynced })
    return fd
  }

  #handle(fd: number): Node {
    return this.#open.get(fd)?.node ?? fail('EBADF')
  }

  #file(fd: number): File {
    const node = this.#handle(fd)
    return node.kind === 'file' ? node : fail('EISDIR')
  }

  #put(file: File, bytes: Buffer, position: number): void {
    file.bytes = overwrite(file.bytes, bytes, position)
    Object.assign(file, this.#times())
  }

  /** A write sets both times. */
  #times(): Pick<File, 'modified' | 'changed'> {
    const now = Date.now() + this.#changes++ / 1000
    return { modified: now, changed: now }
  }

  #change(node: Node): void {
    if (node.kind === 'file') node.changed = this.#times().changed
  }

  /** Syncs these bytes, but not bytes that were written before. */
  #putSynced(file: File, bytes: Buffer, position: number): void {
    this.syncs += 1
    this.syncedWrites += 1
    file.synced = overwrite(file.synced, bytes, position)
  }

  #sync(node: Node): void {
    this.syncs += 1
    if (node.kind === 'file') {
      node.synced = node.bytes
      return
    }
    node.synced = new Map(node.entries)
    // A rename is atomic: a sync of one directory makes it durable in both.
    for (const move of this.#renames.filter(({ from, to }) => from === node || to === node)) {
      if (move.from.synced.get(move.name) === move.node) move.from.synced.delete(move.name)
      move.to.synced.set(move.newName, move.node)
    }
    this.#renames = this.#renames.filter(({ from, to }) => from !== node && to !== node)
  }

  /** The number of links to a file. */
  #linkCount(file: Node): number {
    const count = ({ entries }: Directory): number => {
      let sum = 0
      for (const node of entries.values())
        sum += node.kind === 'directory' ? count(node) : Number(node === file)
      return sum
    }
    return count(this.#root)
  }

  #status(path: string) {
    return this.#statusOf(this.#find(path) ?? fail('ENOENT'))
  }

  #statusOf(node: Node) {
    const file = node.kind === 'file'
    return {
      size: file ? node.bytes.length : 0,
      mtimeMs: file ? node.modified : 0,
      ctimeMs: file ? node.changed : 0,
      nlink: this.#linkCount(node),
      ino: node.ino,
      dev: 1,
      isDirectory: () => !file,
      isSymbolicLink: () => false,
    }
  }
}

function overwrite(before: Buffer, bytes: Buffer, position: number): Buffer {
  const result = Buffer.alloc(Math.max(before.length, position + bytes.length))
  before.copy(result)
  bytes.copy(result, position)
  return result
}

/**
 * A file after a loss of power: its synced bytes, and then all, some or none of the other bytes, or zeros.
 */
function bytesAfterPowerLoss({ bytes, synced }: File, random: Random): Buffer {
  const choice = random()
  if (choice < 0.3) return synced
  if (choice < 0.6) return bytes
  const length = synced.length + Math.floor(random() * Math.max(0, bytes.length - synced.length + 1))
  const result = Buffer.alloc(Math.max(length, choice < 0.8 ? bytes.length : 0))
  bytes.copy(result, 0, 0, length)
  synced.copy(result)
  return result
}

async function* names(all: readonly string[]) {
  for (const name of all) yield { name }
}

import { constants } from 'node:fs'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file/file-system.ts'

interface File {
  readonly kind: 'file'
  readonly ino: number
  bytes: Buffer
  /** What was synced last. */
  synced: Buffer
  modified: number
}

interface Directory {
  readonly kind: 'directory'
  readonly ino: number
  entries: Map<string, Node>
  /** The entries that were synced last, and changes since in their order. */
  synced: Map<string, Node>
}

type Node = File | Directory

/** A number from 0 to 1, the next of a sequence. */
export type Random = () => number

/** One that has but one way to close a file. */
const { closeSync: _, ...realCalls } = nodeFileSystem

const fail = (code: string): never => {
  throw Object.assign(new Error(`${code}: said by the forgetful disk`), { code })
}

/**
 * A disk that forgets what was not synced. It models what POSIX leaves open and no more: data of a file and entries of
 * a directory are sure only after fsync of that file, of that directory, data also if they were written with O_DSYNC;
 * what was not synced may be there or not, each by itself, data also in part or as zeros; a rename happens as a whole or
 * not at all.
 */
export class ForgetfulDisk {
  #inodes = 1
  #boots = 1
  readonly #open = new Map<number, { readonly node: Node; readonly isWrittenThrough: boolean }>()
  #root: Directory = this.#directory()
  /** Renames whose two directories were not both synced yet. */
  #renames: { from: Directory; to: Directory; name: string; newName: string; node: Node }[] = []
  /** Calls until the power fails; each call then rejects. */
  #left = Number.POSITIVE_INFINITY
  calls = 0
  syncs = 0
  /** Writes that synced what they wrote, which are syncs too. */
  writesThrough = 0

  /** Lets so many calls happen; at the one after that the machine stops. */
  stopAfter(calls: number): void {
    this.#left = calls
  }

  /** The machine starts again. After a mere death of the process nothing is forgotten. */
  restart(): void {
    this.#left = Number.POSITIVE_INFINITY
    this.#open.clear()
  }

  /** The power fails, and the machine starts again. */
  losePower(random: Random): void {
    this.restart()
    this.#boots += 1
    // Entries first: each directory keeps what was synced, and of the rest what luck will have.
    const renames = this.#renames.map((move) => ({ ...move, undone: random() < 0.5 }))
    this.#renames = []
    const seen = new Set<Node>()
    const settle = (node: Node): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (node.kind === 'file') {
        node.bytes = forget(node, random)
        node.synced = node.bytes
        return
      }
      const names = new Set([...node.entries.keys(), ...node.synced.keys()])
      const kept = new Map<string, Node>()
      for (const name of names) {
        const [now, then] = [node.entries.get(name), node.synced.get(name)]
        // Both sides of a rename share its luck.
        const rename = renames.find(
          (move) => (move.from === node && move.name === name) || (move.to === node && move.newName === name),
        )
        const entry = (rename ? rename.undone : random() < 0.5) ? then : now
        if (entry) kept.set(name, entry)
      }
      node.entries = kept
      node.synced = new Map(kept)
      for (const child of kept.values()) settle(child)
    }
    settle(this.#root)
  }

  /** All files, by path. */
  files(): Map<string, Buffer> {
    const found = new Map<string, Buffer>()
    const walk = (path: string, { entries }: Directory): void => {
      for (const [name, node] of entries) {
        if (node.kind === 'file') found.set(`${path}/${name}`, node.bytes)
        else walk(`${path}/${name}`, node)
      }
    }
    walk('', this.#root)
    return found
  }

  readonly fileSystem: FileSystem = {
    ...realCalls,
    boot: () => `boot-${this.#boots}`,
    open: (path, flags) => this.#call(() => this.#openFile(path, flags)),
    close: async (fd) => {
      this.#open.delete(fd)
    },
    writev: (fd, buffers, position) =>
      this.#call(() => {
        const bytes = Buffer.concat(buffers)
        // A call is not an atom: the machine may stop within it.
        const whole = this.#left > 0
        this.#put(this.#file(fd), whole ? bytes : bytes.subarray(0, bytes.length >> 1), position)
        if (!whole) fail('EPOWER')
        if (this.#open.get(fd)?.isWrittenThrough) this.#putThrough(this.#file(fd), bytes, position)
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
        this.#file(fd).modified = modified.getTime()
      }),
    ftruncate: (fd, length) =>
      this.#call(() => {
        const file = this.#file(fd)
        file.bytes = file.bytes.subarray(0, length)
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
      }),
    unlink: (path) =>
      this.#call(() => {
        const [folder, name] = this.#place(path)
        if (!folder.entries.delete(name)) fail('ENOENT')
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
    if (this.#left < 0) fail('EPOWER')
    this.calls += 1
    this.#left -= 1
    if (this.#left < 0) fail('EPOWER')
    // Others get their turn, as with a real disk.
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
    const found = this.#find(path)
    const makes =
      flags === 'ax' || flags === 'w' || (typeof flags === 'number' && (flags & constants.O_CREAT) !== 0)
    if (flags === 'ax' && found) fail('EEXIST')
    if (flags === 'w' && found?.kind === 'file') found.bytes = Buffer.alloc(0)
    let node = found
    if (!node) {
      if (!makes) fail('ENOENT')
      const [folder, name] = this.#place(path)
      const nothing = Buffer.alloc(0)
      node = { kind: 'file', ino: this.#inodes++, bytes: nothing, synced: nothing, modified: Date.now() }
      folder.entries.set(name, node)
    }
    const fd = 1000 + this.#inodes++
    const isWrittenThrough = typeof flags === 'number' && (flags & constants.O_DSYNC) !== 0
    this.#open.set(fd, { node, isWrittenThrough })
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
    file.bytes = overlaid(file.bytes, bytes, position)
    file.modified = Date.now()
  }

  /** Of what was written before, it syncs nothing. */
  #putThrough(file: File, bytes: Buffer, position: number): void {
    this.syncs += 1
    this.writesThrough += 1
    file.synced = overlaid(file.synced, bytes, position)
  }

  #sync(node: Node): void {
    this.syncs += 1
    if (node.kind === 'file') {
      node.synced = node.bytes
      return
    }
    node.synced = new Map(node.entries)
    // A rename is whole: whoever syncs one side of it has synced the other.
    for (const move of this.#renames.filter(({ from, to }) => from === node || to === node)) {
      if (move.from.synced.get(move.name) === move.node) move.from.synced.delete(move.name)
      move.to.synced.set(move.newName, move.node)
    }
    this.#renames = this.#renames.filter(({ from, to }) => from !== node && to !== node)
  }

  /** How many names a file has. */
  #names(file: Node): number {
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
      nlink: this.#names(node),
      ino: node.ino,
      dev: 1,
      isDirectory: () => !file,
      isSymbolicLink: () => false,
    }
  }
}

function overlaid(before: Buffer, bytes: Buffer, position: number): Buffer {
  const whole = Buffer.alloc(Math.max(before.length, position + bytes.length))
  before.copy(whole)
  bytes.copy(whole, position)
  return whole
}

/** What a file may be after the power failed: synced bytes surely; behind them something, nothing, or zeros. */
function forget({ bytes, synced }: File, random: Random): Buffer {
  const luck = random()
  if (luck < 0.3) return synced
  if (luck < 0.6) return bytes
  const length = synced.length + Math.floor(random() * Math.max(0, bytes.length - synced.length + 1))
  const torn = Buffer.alloc(Math.max(length, luck < 0.8 ? bytes.length : 0))
  bytes.copy(torn, 0, 0, length)
  synced.copy(torn)
  return torn
}

async function* names(all: readonly string[]) {
  for (const name of all) yield { name }
}

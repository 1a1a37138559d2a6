import { randomBytes } from 'node:crypto'
import { lstat } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { LocalLocks } from './local-locks.ts'
import { ignoring, LockFiles } from './lock-files.ts'
import type { Lock, LockRequest } from './locker.ts'
import {
  type Answer,
  ask,
  BUSY,
  FREE,
  HELD,
  isListening,
  type Limits,
  parseQuery,
  type Query,
  type QueryType,
  SIGN_OF_LIFE,
  SignsPerTimeout,
} from './query.ts'
import type { SocketAddresses } from './socket-address.ts'

/** Milliseconds in which a client must send its query. */
const QueryTimeoutMs = 1000
/** Characters of a query; a path may have 16 KB, and each byte six characters as JSON. */
const MaxQueryLength = 256 * 1024

/** A lock that this process holds by a lock file. */
class FileLock {
  /** The request of the holder, whose `onReleaseRequested` is called when another process waits. */
  #holder: Pick<LockRequest, 'onReleaseRequested'> | undefined
  readonly #waiting = new Set<Socket>()

  constructor(holder: LockRequest) {
    this.#holder = holder
  }

  addWaiter(socket: Socket): void {
    this.#waiting.add(socket)
    socket.on('close', () => this.#waiting.delete(socket))
    this.#holder?.onReleaseRequested?.()
  }

  released(): void {
    this.#holder = undefined
    for (const socket of this.#waiting) socket.end(FREE)
  }
}

/**
 * The socket of this process in a directory, at which other processes ask for its locks. While it listens, the process
 * runs: the kernel refuses connections as soon as it has exited.
 */
export class LockServer {
  /** Six hexadecimal digits that no other process of the directory has. */
  readonly tag: string
  readonly #server: Server
  readonly files: LockFiles
  readonly #local: LocalLocks
  readonly #addresses: SocketAddresses
  readonly #connections = new Set<Socket>()
  /** The locks that this process holds by a lock file, by key. */
  readonly #fileLocks = new Map<string, FileLock>()

  private constructor(tag: string, directory: string, local: LocalLocks, addresses: SocketAddresses) {
    this.tag = tag
    this.files = new LockFiles(directory, tag)
    this.#local = local
    this.#addresses = addresses
    this.#server = createServer((socket) => {
      this.#connections.add(socket)
      socket.unref().on('close', () => this.#connections.delete(socket))
      this.#onConnection(socket)
    })
    this.#server.unref()
  }

  /**
   * @param local the locks within this process
   * @throws the system's error if the directory cannot have sockets, or the socket cannot be reached in it
   */
  static async open(directory: string, local: LocalLocks, addresses: SocketAddresses): Promise<LockServer> {
    for (;;) {
      const tag = randomBytes(3).toString('hex').toUpperCase()
      const server = new LockServer(tag, directory, local, addresses)
      if (!(await server.#listen())) continue
      // Some file systems can create the file of a socket, but do not connect to it.
      if (await isListening(server.#address)) return server
      // Another process has removed it before it listened.
      const isRemoved = (await lstat(server.#address).catch(ignoring('ENOENT'))) === undefined
      await server.close()
      if (isRemoved && addresses.areFiles) continue
      throw Object.assign(new Error('A socket was created, and cannot be reached'), { code: 'ENOTSUP' })
    }
  }

  get #address(): string {
    return this.#addresses.of(this.tag)
  }

  /** Registers a lock that this process holds by a lock file. Returns a function for its release. */
  addFileLock(key: string, holder: LockRequest): () => void {
    const lock = new FileLock(holder)
    this.#fileLocks.set(key, lock)
    return () => {
      this.#fileLocks.delete(key)
      lock.released()
    }
  }

  /** Asks the process with this tag, see {@link ask}. */
  ask(tag: string, type: QueryType, key: string, limits: Limits): Promise<Answer | undefined> {
    return ask(this.#addresses.of(tag), type, key, limits, () => this.#local.onSignOfLife(key))
  }

  /** Whether the process with this tag runs. It may be stopped. */
  isRunning(tag: string): Promise<boolean> {
    return isListening(this.#addresses.of(tag))
  }

  /** Stops listening: other processes then take it that this one has exited. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#connections) socket.destroy()
    await closed
  }

  /** Returns false if another process has the tag. */
  #listen(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#server.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') resolve(false)
        else reject(error)
      })
      // Exclusive, because the workers of a cluster share other listening sockets.
      this.#server.listen({ path: this.#address, exclusive: true }, () => resolve(true))
    })
  }

  #onConnection(socket: Socket): void {
    let text = ''
    const onData = (chunk: string): void => {
      text += chunk
      const end = text.indexOf('\n')
      if (end < 0 && text.length <= MaxQueryLength) return
      socket.off('data', onData).resume().setTimeout(0)
      const query = parseQuery(text)
      if (query) this.#onQuery(socket, query)
      else socket.destroy()
    }
    socket.on('error', () => socket.destroy())
    socket.setEncoding('utf8').setTimeout(QueryTimeoutMs, () => socket.destroy())
    socket.on('data', onData)
  }

  #onQuery(socket: Socket, { type, key, signEvery }: Query): void {
    if (type === 'wait') {
      const fileLock = this.#fileLocks.get(key)
      if (!fileLock) return void this.#removeUnusedFile(key).then(() => socket.end(FREE))
      sendSigns(socket, signEvery)
      fileLock.addWaiter(socket)
    } else if (type === 'borrow') {
      void this.#lend(socket, key, signEvery)
    } else {
      const lock = this.#local.tryAcquire(key)
      if (lock) this.#lendUntilClosed(socket, key, lock)
      else socket.end(HELD)
    }
  }

  /** Removes a lock file that could not be removed when its lock was released. */
  async #removeUnusedFile(key: string): Promise<void> {
    const lock = this.#local.tryAcquire(key)
    if (!lock) return
    await this.files.remove(key).catch(() => {})
    await lock.release()
  }

  /** Waits for the lock within this process, as long as the connection lasts. */
  async #lend(socket: Socket, key: string, signEvery: number): Promise<void> {
    const controller = new AbortController()
    const abort = (): void => controller.abort()
    socket.on('close', abort)
    const stopSigns = sendSigns(socket, signEvery)
    try {
      const lock = await this.#local.acquire(key, {
        signal: controller.signal,
        timeout: SignsPerTimeout * signEvery,
      })
      this.#lendUntilClosed(socket, key, lock)
    } catch {
      // If the client has gone, this does nothing.
      socket.end(BUSY)
    } finally {
      stopSigns()
      socket.off('close', abort)
    }
  }

  #lendUntilClosed(socket: Socket, key: string, lock: Lock): void {
    if (socket.destroyed) return void lock.release()
    this.#local.onSignOfLife(key)
    socket.on('close', () => {
      this.#local.endDependency(key)
      void lock.release()
    })
    socket.write(FREE)
  }
}

/** Shows a client that waits that this process runs. Returns a function that ends this. */
function sendSigns(socket: Socket, every: number): () => void {
  if (every === 0) return () => {}
  const send = (): void => {
    if (!socket.writableEnded) socket.write(SIGN_OF_LIFE)
  }
  const timer = setInterval(send, every).unref()
  const stop = (): void => clearInterval(timer)
  socket.on('close', stop)
  return stop
}

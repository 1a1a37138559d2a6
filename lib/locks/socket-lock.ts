import { unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LockRequest } from './locker.ts'

/**
 * The address of a lock, or of a lock server, for the processes of one machine. On Linux it is an abstract socket, which
 * leaves no file and is visible in one network namespace; on Windows a named pipe; elsewhere a socket file.
 */
export function addressOf(label: string): string {
  const name = `express-bits-upload-${label}`
  if (process.platform === 'linux') return `\0${name}`
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), name)
}

/** Whether an address is a file, which remains when its process is killed. */
export const isFile = (address: string): boolean => !/^[\0\\]/.test(address)

/** Sent to a waiting process when the lock is released. */
export const FREE = 'f'

/** A lock that this process holds among processes: another process connects, and waits until the connection ends. */
export abstract class SocketLock {
  /** The request of the holder, whose `onReleaseRequested` is called when another process connects. */
  holder: Pick<LockRequest, 'onReleaseRequested'> | undefined
  #waiting: Set<Socket> | undefined

  /** Whether another process waits. */
  get isRequested(): boolean {
    return this.#waiting !== undefined && this.#waiting.size > 0
  }

  /** Adds a process that waits, by its connection. */
  addWaiter(socket: Socket): void {
    this.#waiting ??= new Set()
    this.#waiting.add(socket)
    socket.on('close', () => this.#waiting?.delete(socket))
    this.holder?.onReleaseRequested?.()
  }

  /** May be called more than once. */
  release(): void {
    // This object may stay in memory for a while, see `ActiveRequest` of the middleware; the request must not.
    this.holder = undefined
    this.close()
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const socket of waiting) socket.end(FREE, () => socket.destroy())
  }

  /** Makes the lock invisible to other processes. */
  protected abstract close(): void
}

/** A lock with an address of its own. */
class ListeningLock extends SocketLock {
  server: Server | undefined

  close(): void {
    this.server?.close()
  }
}

/** Listens at an address until the lock is released; undefined if another process listens there. */
export async function listenAsLock(address: string): Promise<SocketLock | undefined> {
  const lock = new ListeningLock()
  lock.server = await listenAt(address, (socket) => lock.addWaiter(unrefAndIgnoreErrors(socket)))
  return lock.server && lock
}

/** A server that does not keep the process alive; undefined if another process listens at the address. */
export function listenAt(
  address: string,
  onConnection: (socket: Socket) => void,
): Promise<Server | undefined> {
  const server = createServer(onConnection)
  return new Promise((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    // Exclusive, because the workers of a cluster share other listening sockets.
    server.listen({ path: address, exclusive: true }, () => resolve(server))
    server.unref()
  })
}

/** Makes a connection that does not keep the process alive, and may break. */
export const unrefAndIgnoreErrors = (socket: Socket): Socket =>
  socket.unref().on('error', () => socket.destroy())

/**
 * Connects, and resolves when the connection is closed, for whatever reason; rejects with the signal's reason if that is
 * aborted before.
 * @param onSocket gets the connection before it is established, to add listeners
 */
export function connectUntilClosed(
  address: string,
  signal: AbortSignal | undefined,
  onSocket: (socket: Socket) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    const abort = (): void => {
      reject(signal?.reason)
      socket.destroy()
    }
    socket.on('error', () => {})
    socket.on('close', () => {
      signal?.removeEventListener('abort', abort)
      resolve()
    })
    onSocket(socket)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Requests the release of the lock at an address, and resolves when its holder releases it, or exits. */
export const waitForRelease = (address: string, signal: AbortSignal | undefined): Promise<void> =>
  connectUntilClosed(address, signal, (socket) => {
    socket.resume().on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' && isFile(address)) unlink(address).catch(() => {})
    })
  })

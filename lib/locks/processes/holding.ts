import { unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { LockRequest } from '../locker.ts'
import { isFile } from './address.ts'

/** What is said to those who waited. */
export const Free = 'f'

/** A session that this process has: who wants it connects, and waits until the connection ends. */
export abstract class Holding {
  /** Told when another process comes for it. */
  holder: Pick<LockRequest, 'onReleaseRequested'> | undefined
  #waiting: Set<Socket> | undefined

  /** Whether another process waits. */
  get isWanted(): boolean {
    return this.#waiting !== undefined && this.#waiting.size > 0
  }

  /** Another process has come. */
  enqueue(socket: Socket): void {
    this.#waiting ??= new Set()
    this.#waiting.add(socket)
    socket.on('close', () => this.#waiting?.delete(socket))
    this.holder?.onReleaseRequested?.()
  }

  /** May be called more than once. */
  release(): void {
    // It may stay in memory for a while, see `Work` of the middleware, and is not to keep a request there.
    this.holder = undefined
    this.giveBack()
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const socket of waiting) socket.end(Free, () => socket.destroy())
  }

  /** Ends what others see of it. */
  protected abstract giveBack(): void
}

/** By an address of its own. */
class Listening extends Holding {
  server: Server | undefined

  giveBack(): void {
    this.server?.close()
  }
}

/** Listens at an address until released; undefined if somebody else does. */
export async function listen(address: string): Promise<Holding | undefined> {
  const holding = new Listening()
  holding.server = await serve(address, (socket) => holding.enqueue(quiet(socket)))
  return holding.server && holding
}

/** A server that keeps no process alive; undefined if somebody else has the address. */
export function serve(address: string, onConnection: (socket: Socket) => void): Promise<Server | undefined> {
  const server = createServer(onConnection)
  return new Promise((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    // Exclusive: else the workers of a cluster would share what they listen to.
    server.listen({ path: address, exclusive: true }, () => resolve(server))
    server.unref()
  })
}

/** A connection that keeps no process alive, and may break. */
export const quiet = (socket: Socket): Socket => socket.unref().on('error', () => socket.destroy())

/**
 * Connects, and resolves when the connection is over, whatever ended it; rejects with the signal's reason if that comes
 * before.
 * @param meet gets the connection, to listen to it
 */
export function visit(
  address: string,
  signal: AbortSignal | undefined,
  meet: (socket: Socket) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    const giveUp = (): void => {
      reject(signal?.reason)
      socket.destroy()
    }
    socket.on('error', () => {})
    socket.on('close', () => {
      signal?.removeEventListener('abort', giveUp)
      resolve()
    })
    meet(socket)
    if (signal?.aborted) giveUp()
    else signal?.addEventListener('abort', giveUp, { once: true })
  })
}

/** Tells the holder of an address that it is wanted, and waits until it lets go, or dies. */
export const waitFor = (address: string, signal: AbortSignal | undefined): Promise<void> =>
  visit(address, signal, (socket) => {
    socket.resume().on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' && isFile(address)) unlink(address).catch(() => {})
    })
  })

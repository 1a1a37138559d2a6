import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Exchange } from './protocols/protocol.ts'
import { type Response, ResponseParser } from './response.ts'

/** Maximum bytes of one write. */
const MaxWriteBytes = 1024 * 1024
/** A request fails after this time without a byte, so that the benchmark never hangs. */
const TimeoutMs = 60_000

/** One connection, with one request in flight. */
export class Connection {
  readonly #socket: Socket
  readonly #parser = new ResponseParser()
  readonly #onSent: (bytes: number) => void
  #resolve: ((response: Response) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  private constructor(socket: Socket, onSent: (bytes: number) => void) {
    this.#socket = socket
    this.#onSent = onSent
    socket.setNoDelay()
    socket.on('data', (chunk) => {
      for (const response of this.#parser.push(chunk)) this.#resolve?.(response)
    })
    socket.setTimeout(TimeoutMs, () => this.#reject?.(new Error(`No response within ${TimeoutMs} ms`)))
    socket.on('error', (error) => this.#reject?.(error))
    socket.on('close', () => this.#reject?.(new Error('The server closed the connection')))
  }

  /** @param onSent called with the number of body bytes of each write that the kernel has accepted */
  static async open(port: number, onSent: (bytes: number) => void): Promise<Connection> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new Connection(socket, onSent)
  }

  /** Sends a whole request, and resolves to the response. */
  exchange({ head, body }: Exchange): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.send(head, body).catch(reject)
    })
  }

  async send(head: string, body?: Exchange['body']): Promise<void> {
    const socket = this.#socket
    if (!body) {
      socket.write(head, 'latin1')
      return
    }
    for (let sent = 0; sent < body.length; ) {
      const length = Math.min(MaxWriteBytes, body.length - sent)
      socket.cork()
      if (sent === 0) socket.write(head, 'latin1')
      for (const piece of body.read(sent, length)) socket.write(piece)
      socket.uncork()
      if (socket.writableNeedDrain) await once(socket, 'drain')
      sent += length
      this.#onSent(length)
    }
  }

  close(): void {
    this.#reject = undefined
    this.#socket.destroy()
  }
}

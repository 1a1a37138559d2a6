import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type Answer, Answers } from './answer.ts'
import type { Exchange } from './dialects/dialect.ts'

/** Bytes that are handed to the kernel at once, at most. */
const Portion = 1024 * 1024
/** Milliseconds without a byte after which there will be no answer: no benchmark is to hang. */
const Silence = 60_000

/** One connection, with one request under way. */
export class Connection {
  readonly #socket: Socket
  readonly #answers = new Answers()
  readonly #onSent: (bytes: number) => void
  #resolve: ((answer: Answer) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  private constructor(socket: Socket, onSent: (bytes: number) => void) {
    this.#socket = socket
    this.#onSent = onSent
    socket.setNoDelay()
    socket.on('data', (chunk) => {
      for (const answer of this.#answers.push(chunk)) this.#resolve?.(answer)
    })
    socket.setTimeout(Silence, () => this.#reject?.(new Error('There was no answer')))
    socket.on('error', (error) => this.#reject?.(error))
    socket.on('close', () => this.#reject?.(new Error('The server hung up')))
  }

  /** @param onSent told the bytes of bodies as the kernel takes them */
  static async open(port: number, onSent: (bytes: number) => void): Promise<Connection> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new Connection(socket, onSent)
  }

  /** Sends a request, all of it, and resolves to the answer. */
  exchange({ head, body }: Exchange): Promise<Answer> {
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
      const length = Math.min(Portion, body.length - sent)
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

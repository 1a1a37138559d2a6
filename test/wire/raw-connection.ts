/**
 * Exchanges over one raw connection: the text of a request is sent byte for byte, and an answer is what the
 * server sent, not processed by an HTTP client.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished } from 'vitest'
import type { Answer } from '../support/client.ts'

/** An answer, with its status line as sent. */
export interface RawAnswer extends Answer {
  /** `HTTP/1.1 200 OK` */
  readonly statusLine: string
}

const EndOfHead = '\r\n\r\n'

/** The lines of a template literal, without indentation and surrounding blank lines. */
const linesOf = (text: string): string[] => text.trim().split(/\r?\n[ \t]*/)

/** One keep-alive connection. */
export class RawConnection {
  readonly #socket: Socket
  #unread = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, chunk])
      this.#wake?.()
    })
    // A reset is an end like any other: a pending answer then fails.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
  }

  /**
   * Sends a request's head, its lines joined with CRLF, then the body; resolves to the answer. Fails if the
   * connection ends instead, or if unexpected bytes arrived before, such as the body of the previous answer.
   */
  async exchange(head: string, body: Uint8Array = new Uint8Array()): Promise<RawAnswer> {
    expect(this.#unread.toString('latin1'), 'bytes after the last answer').toBe('')
    this.#socket.write(linesOf(head).join('\r\n') + EndOfHead, 'latin1')
    this.#socket.write(body)
    return this.#answer()
  }

  /** Ends the connection. Resolves to the bytes that belong to no answer. */
  async end(): Promise<string> {
    this.#socket.end()
    while (!this.#ended) await this.#more()
    return this.#unread.toString('latin1')
  }

  async #answer(): Promise<RawAnswer> {
    while (!this.#unread.includes(EndOfHead)) await this.#more()
    const end = this.#unread.indexOf(EndOfHead)
    const [statusLine = '', ...lines] = this.#unread.toString('latin1', 0, end).split('\r\n')
    const fields = lines.map((line) => /^([^:]*): ?(.*)$/.exec(line)?.slice(1) as [string, string])
    const headers = Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value]))
    const from = end + EndOfHead.length
    const length = Number(headers['content-length'] ?? Number.NaN)
    expect(length, `a Content-Length in: ${statusLine}`).toBeGreaterThanOrEqual(0)
    while (this.#unread.length < from + length) await this.#more()
    const body = this.#unread.subarray(from, from + length)
    this.#unread = this.#unread.subarray(from + length)
    return { statusLine, status: Number(statusLine.split(' ')[1]), headers, rawHeaders: fields.flat(), body }
  }

  async #more(): Promise<void> {
    if (this.#ended) {
      throw new Error(`The connection ended after: ${JSON.stringify(this.#unread.toString('latin1'))}`)
    }
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}

/** Connects to the server of a URL. */
export async function dial(url: URL): Promise<RawConnection> {
  const socket = connect(Number(url.port), url.hostname)
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'connect')
  return new RawConnection(socket)
}

/** Fields that any HTTP server may add to its answers. */
const serverFields = ['Date', 'Connection', 'Keep-Alive', 'X-Powered-By', 'Pragma']

/**
 * Expects an answer to equal the text: the same status line, exactly these fields with these names and values
 * (in any order), and no body. Fields of the HTTP server are checked only if the text names them.
 */
export function expectAnswer(answer: RawAnswer, text: string): void {
  const [statusLine, ...lines] = linesOf(text)
  const named = new Set(lines.map((line) => line.split(':')[0]))
  const fields: string[] = []
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = answer.rawHeaders.slice(i, i + 2)
    if (named.has(name) || !serverFields.includes(name)) fields.push(`${name}: ${value}`)
  }
  expect(answer.statusLine).toBe(statusLine)
  expect(fields.sort()).toEqual(lines.sort())
  expect(answer.body).toHaveLength(0)
}

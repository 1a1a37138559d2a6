/**
 * Exchanges over one raw connection: the text of a request is sent byte for byte, and an answer is what the
 * server sent, not processed by an HTTP client.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished } from 'vitest'
import type { Answer } from '../support/client.ts'

/** An answer as it stood on the wire. */
export interface RawAnswer extends Answer {
  /** `HTTP/1.1 200 OK` */
  readonly statusLine: string
}

const EndOfHead = '\r\n\r\n'

/** The lines of a text written in a template: without the indentation, and the blank lines around it. */
const linesOf = (text: string): string[] => text.trim().split(/\r?\n[ \t]*/)

/** One keep-alive connection. */
export class Transcript {
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
    // A reset is an end like any other: whoever waits for an answer learns that there is none.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
  }

  /**
   * Sends a request's head, its lines joined with CRLF, then the body; resolves to the answer. Fails if the connection
   * ends instead, or if there were bytes before that nobody asked for, such as an earlier answer's body.
   */
  async say(head: string, body: Uint8Array = new Uint8Array()): Promise<RawAnswer> {
    expect(this.#unread.toString('latin1'), 'bytes behind the last answer').toBe('')
    this.#socket.write(linesOf(head).join('\r\n') + EndOfHead, 'latin1')
    this.#socket.write(body)
    return this.#answer()
  }

  /** Hangs up. Resolves to the bytes that belonged to no answer. */
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
export async function dial(url: URL): Promise<Transcript> {
  const socket = connect(Number(url.port), url.hostname)
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'connect')
  return new Transcript(socket)
}

/** What a server of any kind may add to its answers. */
const theServersOwn = ['Date', 'Connection', 'Keep-Alive', 'X-Powered-By', 'Pragma']

/**
 * Expects an answer to be the one of the text: the same status line, exactly these fields with these names and values
 * (whatever their order), and no body. What is the server's own and not the protocol's is looked at only if the text
 * names it.
 */
export function expectToRead(answer: RawAnswer, text: string): void {
  const [statusLine, ...lines] = linesOf(text)
  const named = new Set(lines.map((line) => line.split(':')[0]))
  const said: string[] = []
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = answer.rawHeaders.slice(i, i + 2)
    if (named.has(name) || !theServersOwn.includes(name)) said.push(`${name}: ${value}`)
  }
  expect(answer.statusLine).toBe(statusLine)
  expect(said.sort()).toEqual(lines.sort())
  expect(answer.body).toHaveLength(0)
}

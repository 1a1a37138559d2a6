/** Sends and receives raw bytes, without an HTTP client, because HTTP clients normalize requests. */

import { connect } from 'node:net'
import { setImmediate as tick } from 'node:timers/promises'
import type { Answer } from '../support/client.ts'

/** An answer as it was received. */
export interface RawAnswer extends Answer {
  /** Status line and header fields as text. */
  readonly head: string
}

const EndOfHead = Buffer.from('\r\n\r\n')

export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/**
 * Waits until a server of this process has most likely read the last write, so that the next write is a
 * separate TCP packet. The event loop must poll once in between, and once more if the connection is new.
 */
export async function delivered(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await tick()
}

/**
 * How the client ends the connection.
 * - `wait`: it waits until the server closes
 * - `fin`: it closes its side after its last byte
 * - `reset`: it resets the connection
 */
export type Ending = 'wait' | 'fin' | 'reset'

export interface ExchangeOptions {
  readonly ending?: Ending
  /** The exchange fails if the connection is still open after this time. Default: 15 s. */
  readonly timeoutMs?: number
  /** Whether the received bytes are complete. Default: when the server closes the connection. */
  readonly isComplete?: (bytes: Buffer) => boolean
}

/**
 * What a client sends before it waits for an answer, each element in a TCP packet. A function gets the bytes
 * received so far.
 */
export type Turn = readonly Uint8Array[] | ((received: Buffer) => readonly Uint8Array[])

/**
 * Sends the turns on a new connection. Resolves to all bytes that were received until the connection ended.
 */
export function exchange(
  port: number,
  turns: readonly Turn[],
  { ending = 'wait', timeoutMs = 15_000, isComplete = () => false }: ExchangeOptions = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    let received = Buffer.alloc(0)
    let wake = (): void => {}
    const timeout = setTimeout(() => {
      socket.destroy()
      reject(
        new Error(`Open after ${timeoutMs} ms; received: ${JSON.stringify(received.toString('latin1'))}`),
      )
    }, timeoutMs)
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      wake()
      if (isComplete(received)) socket.destroy()
    })
    // The server may close while the client sends. A reset then counts as a normal end.
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      clearTimeout(timeout)
      wake()
      resolve(received)
    })

    const send = async (turn: Turn): Promise<void> => {
      for (const packet of typeof turn === 'function' ? turn(received) : turn) {
        if (socket.destroyed) return
        socket.write(packet)
        await delivered()
      }
    }
    /** Waits until more than `length` bytes are received and the last of them end an answer. */
    const answered = async (length: number): Promise<void> => {
      while (!socket.destroyed && (received.length === length || !received.subarray(-4).equals(EndOfHead))) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    const sendTurns = async (): Promise<void> => {
      for (const [i, turn] of turns.entries()) {
        const { length } = received
        await send(turn)
        if (i < turns.length - 1) await answered(length)
      }
      if (ending === 'fin') socket.end()
      if (ending === 'reset') socket.resetAndDestroy()
    }
    socket.on('connect', () => void sendTurns())
  })
}

/** The body of Node's own refusals, the only chunked body in these tests. The answer to HEAD has none. */
const emptyChunkedBody = '0\r\n\r\n'

/**
 * Parses the answers. An answer without Content-Length, a refusal by Node, has no other body than an empty
 * chunked one.
 */
export function readAnswers(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end < 0) throw new Error(`Incomplete answer: ${JSON.stringify(bytes.toString('latin1', at))}`)
    const head = bytes.toString('latin1', at, end)
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) [ -~]+$/.exec(statusLine)?.[1])
    if (!status) throw new Error(`Invalid status line: ${JSON.stringify(statusLine)}`)
    const rawHeaders = lines.flatMap((line) => {
      const field = /^([!#-'*+.^`|~\w-]+): ([\t -~\x80-\xff]*)$/.exec(line)
      if (!field) throw new Error(`Invalid header field: ${JSON.stringify(line)}`)
      return field.slice(1)
    })
    const headers: Record<string, string> = {}
    for (let i = 0; i < rawHeaders.length; i += 2) {
      headers[(rawHeaders[i] as string).toLowerCase()] = rawHeaders[i + 1] as string
    }
    const from = end + 4
    const isChunked = headers['transfer-encoding'] === 'chunked'
    at = from + Number(headers['content-length'] ?? 0)
    if (isChunked && bytes.toString('latin1', from, from + emptyChunkedBody.length) === emptyChunkedBody)
      at += emptyChunkedBody.length
    answers.push({ status, head, headers, rawHeaders, body: bytes.subarray(from, at) })
  }
  return answers
}

/** Sends one packet on a new connection. Resolves to the first answer. */
export async function request(port: number, head: string, body = ''): Promise<RawAnswer> {
  const isComplete = (bytes: Buffer): boolean => bytes.includes('\r\n\r\n')
  const [answer] = readAnswers(await exchange(port, [[latin1(`${head}\r\n\r\n${body}`)]], { isComplete }))
  if (!answer) throw new Error(`Closed without an answer: ${JSON.stringify(head)}`)
  return answer
}

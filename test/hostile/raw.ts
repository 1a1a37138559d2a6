/** Sends and receives raw bytes, without an HTTP client, because HTTP clients normalize requests. */

import { connect } from 'node:net'
import { setImmediate as tick } from 'node:timers/promises'
import type { Answer } from '../support/client.ts'

/** An answer as it stood on the wire. */
export interface RawAnswer extends Answer {
  /** Status line and fields, as text. */
  readonly head: string
}

const EndOfHead = Buffer.from('\r\n\r\n')

export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/**
 * Waits until a server of this process has most likely read what was just written, so that the next write is a packet of
 * its own: the event loop must have polled in between, and once more where the connection is new.
 */
export async function delivered(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await tick()
}

/**
 * - `wait`: the server is to answer, or to close, by itself
 * - `fin`: the client hangs up behind its last byte
 * - `reset`: it vanishes
 */
export type Ending = 'wait' | 'fin' | 'reset'

export interface ExchangeOptions {
  readonly ending?: Ending
  /** Milliseconds after which a connection that is neither answered nor closed counts as hanging. */
  readonly patience?: number
  /** Whether what came back is all that was wanted. Default: the connection's end. */
  readonly enough?: (bytes: Buffer) => boolean
}

/**
 * What a client sends before it waits for an answer: packets of TCP, as far as it is up to us. A function is given all
 * that has come back until then.
 */
export type Turn = readonly Uint8Array[] | ((back: Buffer) => readonly Uint8Array[])

/** Has the conversation on a connection of its own; resolves to all that came back until the connection ended. */
export function exchange(
  port: number,
  turns: readonly Turn[],
  { ending = 'wait', patience = 15_000, enough = () => false }: ExchangeOptions = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    let back = Buffer.alloc(0)
    let wake = (): void => {}
    const hanging = setTimeout(() => {
      socket.destroy()
      reject(new Error(`Neither answered nor closed; came back: ${JSON.stringify(back.toString('latin1'))}`))
    }, patience)
    socket.on('data', (chunk) => {
      back = Buffer.concat([back, chunk])
      wake()
      if (enough(back)) socket.destroy()
    })
    // The server may close while we are still sending: a reset is an end like any other.
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      clearTimeout(hanging)
      wake()
      resolve(back)
    })

    const send = async (turn: Turn): Promise<void> => {
      for (const packet of typeof turn === 'function' ? turn(back) : turn) {
        if (socket.destroyed) return
        socket.write(packet)
        await delivered()
      }
    }
    /** Waits until more than so many bytes are back, and the last of them end an answer. */
    const answered = async (length: number): Promise<void> => {
      while (!socket.destroyed && (back.length === length || !back.subarray(-4).equals(EndOfHead))) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    const talk = async (): Promise<void> => {
      for (const [i, turn] of turns.entries()) {
        const { length } = back
        await send(turn)
        if (i < turns.length - 1) await answered(length)
      }
      if (ending === 'fin') socket.end()
      if (ending === 'reset') socket.resetAndDestroy()
    }
    socket.on('connect', () => void talk())
  })
}

/** The only body in chunks that a server of these tests sends: that of Node's own refusals; to HEAD not even that. */
const noChunk = '0\r\n\r\n'

/** The answers in what came back. Those without Content-Length have no body here: Node's own refusals. */
export function readAnswers(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end < 0) throw new Error(`No answer: ${JSON.stringify(bytes.toString('latin1', at))}`)
    const head = bytes.toString('latin1', at, end)
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) [ -~]+$/.exec(statusLine)?.[1])
    if (!status) throw new Error(`No status line: ${JSON.stringify(statusLine)}`)
    const rawHeaders = lines.flatMap((line) => {
      const field = /^([!#-'*+.^`|~\w-]+): ([\t -~\x80-\xff]*)$/.exec(line)
      if (!field) throw new Error(`No header field: ${JSON.stringify(line)}`)
      return field.slice(1)
    })
    const headers: Record<string, string> = {}
    for (let i = 0; i < rawHeaders.length; i += 2) {
      headers[(rawHeaders[i] as string).toLowerCase()] = rawHeaders[i + 1] as string
    }
    const from = end + 4
    const isChunked = headers['transfer-encoding'] === 'chunked'
    at = from + Number(headers['content-length'] ?? 0)
    if (isChunked && bytes.toString('latin1', from, from + noChunk.length) === noChunk) at += noChunk.length
    answers.push({ status, head, headers, rawHeaders, body: bytes.subarray(from, at) })
  }
  return answers
}

/** The first answer to one packet on a connection of its own. */
export async function ask(port: number, head: string, body = ''): Promise<RawAnswer> {
  const enough = (bytes: Buffer): boolean => bytes.includes('\r\n\r\n')
  const [answer] = readAnswers(await exchange(port, [[latin1(`${head}\r\n\r\n${body}`)]], { enough }))
  if (!answer) throw new Error(`Closed without an answer: ${JSON.stringify(head)}`)
  return answer
}

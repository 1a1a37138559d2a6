/** A proxy between a client and a server that answers requests, changes answers or buffers requests. */

import { connect, createServer, type Socket } from 'node:net'
import { listenRaw } from '../client/fake-server.ts'

export interface Meddling {
  /**
   * Returns the proxy's own answer to a request with this head; '': no answer; undefined: the server answers.
   */
  readonly request?: (head: string) => string | undefined
  /** Changes an answer of the server. An Ack consists only of a head, so that it arrives in one chunk. */
  readonly answer?: (text: string) => string
  /** Passes a request on only when it is complete. */
  readonly buffer?: boolean
}

const EndOfHead = '\r\n\r\n'

/** Returns the URL at which the server is reached through the proxy. */
export async function meddler(server: URL, meddling: Meddling): Promise<URL> {
  const url = await listenRaw(
    createServer({ noDelay: true }, (client) => {
      const upstream = connect({ port: Number(server.port), host: server.hostname, noDelay: true })
      client.on('error', () => upstream.destroy()).on('close', () => upstream.destroySoon())
      upstream.on('error', () => client.destroy()).on('close', () => client.destroySoon())
      upstream.on('data', (chunk: Buffer) => {
        const text = chunk.toString('latin1')
        client.write(meddling.answer?.(text) ?? text, 'latin1')
      })
      void pass(client, upstream, meddling).catch(() => {})
    }),
  )
  return new URL(server.pathname, url)
}

async function pass(client: Socket, upstream: Socket, { request, buffer }: Meddling): Promise<void> {
  let unread = Buffer.alloc(0)
  /** Bytes of the current body that have not arrived. */
  let missing = 0
  /** Chunks after `unread`, joined when a buffered request is complete: to join each one takes quadratic time. */
  let chunks: Buffer[] = []
  /** Bytes of `unread` and of a buffered request. */
  let needed = 0
  let available = 0
  for await (const chunk of client as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    available += chunk.length
    if (available < needed) continue
    unread = Buffer.concat([unread, ...chunks])
    chunks = []
    needed = 0
    while (unread.length > 0) {
      if (missing > 0) {
        const part = unread.subarray(0, missing)
        missing -= part.length
        unread = unread.subarray(part.length)
        upstream.write(part)
        continue
      }
      const end = unread.indexOf(EndOfHead)
      if (end < 0) break
      const bodyStart = end + EndOfHead.length
      const head = unread.toString('latin1', 0, bodyStart)
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      const own = request?.(head)
      if (own !== undefined) {
        client.write(own, 'latin1')
        // The client may still be sending. If the proxy closed the connection now, the answer would be lost.
        for await (const rest of client) void rest
        return
      }
      if (buffer && unread.length < bodyStart + length) {
        needed = bodyStart + length
        break
      }
      upstream.write(head, 'latin1')
      unread = unread.subarray(bodyStart)
      missing = length
    }
    available = unread.length
  }
}

/** The text of an answer without a body. */
export const plainAnswer = (status: string, ...fields: string[]): string =>
  [`HTTP/1.1 ${status}`, ...fields, 'Content-Length: 0', 'Connection: close', '', ''].join('\r\n')

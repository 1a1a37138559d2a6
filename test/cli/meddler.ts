/** A proxy between a client and a server that answers requests, changes answers or buffers requests. */

import { connect, createServer, type Socket } from 'node:net'
import { listenRaw } from '../client/fake-server.ts'

export interface Meddling {
  /** Answers a request by itself, by its head; '' is silence; undefined: it goes on to the server. */
  readonly request?: (head: string) => string | undefined
  /** Changes an answer: all of it, for Acks are heads only. */
  readonly answer?: (text: string) => string
  /** Passes a request on when all of it has come. */
  readonly gather?: boolean
}

const EndOfHead = '\r\n\r\n'

/** @returns the URL by which the server is reached through it */
export async function meddler(server: URL, meddling: Meddling): Promise<URL> {
  const url = await listenRaw(
    createServer({ noDelay: true }, (client) => {
      const far = connect({ port: Number(server.port), host: server.hostname, noDelay: true })
      client.on('error', () => far.destroy()).on('close', () => far.destroySoon())
      far.on('error', () => client.destroy()).on('close', () => client.destroySoon())
      far.on('data', (chunk: Buffer) => {
        const text = chunk.toString('latin1')
        client.write(meddling.answer?.(text) ?? text, 'latin1')
      })
      void pass(client, far, meddling).catch(() => {})
    }),
  )
  return new URL(server.pathname, url)
}

async function pass(client: Socket, far: Socket, { request, gather }: Meddling): Promise<void> {
  let unread = Buffer.alloc(0)
  /** Bytes of a body that are still to come. */
  let left = 0
  for await (const chunk of client as AsyncIterable<Buffer>) {
    unread = Buffer.concat([unread, chunk])
    while (unread.length > 0) {
      if (left > 0) {
        const part = unread.subarray(0, left)
        left -= part.length
        unread = unread.subarray(part.length)
        far.write(part)
        continue
      }
      const end = unread.indexOf(EndOfHead)
      if (end < 0) break
      const from = end + EndOfHead.length
      const head = unread.toString('latin1', 0, from)
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      const own = request?.(head)
      if (own !== undefined) {
        client.write(own, 'latin1')
        // The client may be sending: to hang up now would take the answer from it.
        left = 0
        for await (const rest of client) void rest
        return
      }
      if (gather && unread.length < from + length) break
      far.write(head, 'latin1')
      unread = unread.subarray(from)
      left = length
    }
  }
}

/** The text of an answer without a body. */
export const plainAnswer = (status: string, ...fields: string[]): string =>
  [`HTTP/1.1 ${status}`, ...fields, 'Content-Length: 0', 'Connection: close', '', ''].join('\r\n')

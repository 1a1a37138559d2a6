/**
 * Test servers, and a client that controls which bytes go into which segment, for the tests of
 * lib/http/bits-post/accept.ts.
 */

import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import https from 'node:https'
import { createRequire } from 'node:module'
import net, { type AddressInfo, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import tls from 'node:tls'
import connect from 'connect'
import express from 'express'
import { generate } from 'selfsigned'

const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express

const pems = await generate([{ name: 'commonName', value: 'localhost' }], {
  keyType: 'ec',
  algorithm: 'sha256',
})
export const certificate = { key: pems.private, cert: pems.cert }

/** A BITS_POST request, and what a recorder sees of it. */
export const BITS = 'BITS_POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello'
export const SEEN = { method: 'BITS_POST', url: '/up', body: 'hello' }

/** A request that a server received. */
export interface RecordedRequest {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly note: string | undefined
  body: string
}

/**
 * A listener that records each request and answers with the record; with `early`, before the body arrives.
 */
export function recorder({ early = false } = {}): { requests: RecordedRequest[]; listener: RequestListener } {
  const requests: RecordedRequest[] = []
  const listener = (req: IncomingMessage, res: ServerResponse) => {
    const entry: RecordedRequest = {
      method: req.method,
      url: req.url,
      note: req.headers.note?.toString(),
      body: '',
    }
    requests.push(entry)
    if (early) res.end(JSON.stringify(entry))
    req.on('data', (chunk: Buffer) => {
      entry.body += chunk.toString('latin1')
    })
    req.on('end', () => {
      if (!early) res.end(JSON.stringify(entry))
    })
  }
  return { requests, listener }
}

/** The same listener, mounted in each kind of app. */
export const apps: readonly { app: string; mount: (listener: RequestListener) => RequestListener }[] = [
  { app: 'node:http', mount: (listener) => listener },
  { app: 'Express 5', mount: (listener) => express().use(listener) },
  { app: 'Express 4', mount: (listener) => express4().use(listener) },
  { app: 'Connect', mount: (listener) => connect().use(listener) },
]

export interface Transport {
  readonly over: string
  readonly create: (listener?: RequestListener) => net.Server
  /** The server's event for a connection whose bytes are HTTP. */
  readonly accepted: string
  readonly dial: (port: number) => Socket
  readonly dialled: string
}

export const plain: Transport = {
  over: 'http',
  create: (listener) => http.createServer(listener),
  accepted: 'connection',
  dial: (port) => net.connect(port, '127.0.0.1'),
  dialled: 'connect',
}

export const secure: Transport = {
  over: 'https',
  create: (listener) => https.createServer(certificate, listener),
  accepted: 'secureConnection',
  dial: (port) => tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }),
  dialled: 'secureConnect',
}

export const transports = [plain, secure] as const

export const everyAppAndTransport = transports.flatMap((transport) =>
  apps.map(({ app, mount }) => ({ over: transport.over, app, mount, transport })),
)

const open = new Set<{ destroy(): unknown } | { close(): unknown }>()

/** For afterEach: closes all servers and connections of a test. */
export async function closeAll(): Promise<void> {
  const closing = [...open].map((each) => {
    if ('destroy' in each) return each.destroy()
    const server = each as http.Server
    const closed = new Promise<unknown>((resolve) => server.close(resolve))
    return closed
  })
  open.clear()
  await Promise.all(closing)
}

/** A server on a free port of 127.0.0.1, and the server's side of each connection. */
export class Host {
  readonly server: net.Server
  readonly transport: Transport
  readonly peers = new Map<number, Socket>()

  private constructor(server: net.Server, transport: Transport) {
    this.server = server
    this.transport = transport
    server.on(transport.accepted, (socket: Socket) => {
      const port = socket.remotePort ?? 0
      this.peers.set(port, socket)
      open.add(socket)
      socket.once('close', () => {
        this.peers.delete(port)
        open.delete(socket)
      })
    })
  }

  static async start(transport: Transport, app?: RequestListener | net.Server): Promise<Host> {
    const host = new Host(app instanceof net.Server ? app : transport.create(app), transport)
    host.server.listen(0, '127.0.0.1')
    await once(host.server, 'listening')
    open.add(host.server)
    return host
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async dial(): Promise<RawConnection> {
    const socket = this.transport.dial(this.port)
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    await once(socket, this.transport.dialled)
    const port = socket.localPort as number
    while (!this.peers.has(port)) await turn()
    return new RawConnection(socket, this.peers.get(port) as Socket)
  }
}

export interface Reply {
  readonly status: number
  readonly body: string
}

/** A client's connection. The server reads each packet of send() separately. */
export class RawConnection {
  readonly socket: Socket
  /** The server's side of the connection. */
  readonly peer: Socket
  /** Bytes from the server that no reply() has returned. */
  received = ''
  #sent = 0
  #closed = false
  #wake = () => {}

  constructor(socket: Socket, peer: Socket) {
    this.socket = socket
    this.peer = peer
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.received += text
      this.#wake()
    })
    // A write after the server closed the connection: reply() shows the result.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  /**
   * Sends the packets (latin1), each after the server has read the previous one. Stops when the server has
   * closed the connection: further bytes would cause a reset, which discards the answer.
   */
  async send(...packets: string[]): Promise<void> {
    for (const packet of packets) {
      if (this.peer.destroyed || this.#closed) return
      this.socket.write(packet, 'latin1')
      this.#sent += packet.length
      while (this.peer.bytesRead < this.#sent && !this.peer.destroyed && !this.#closed) await turn()
    }
  }

  /** The next response; undefined when the connection closed without one. */
  async reply(): Promise<Reply | undefined> {
    for (;;) {
      const reply = this.#take()
      if (reply || this.#closed) return reply
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** The recorded request that the next response contains. */
  async recordedRequest(): Promise<RecordedRequest> {
    const reply = await this.reply()
    if (reply?.status !== 200) throw new Error(`expected 200, got ${JSON.stringify(reply)}`)
    return JSON.parse(reply.body) as RecordedRequest
  }

  #take(): Reply | undefined {
    const end = this.received.indexOf('\r\n\r\n') + 4
    if (end < 4) return undefined
    const head = this.received.slice(0, end)
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
    if (this.received.length < end + length) return undefined
    const body = this.received.slice(end, end + length)
    this.received = this.received.slice(end + length)
    return { status: Number(head.split(' ')[1]), body }
  }
}

/** `text` in two packets, once for each position at which it can be split. */
export function everyCut(text: string): [string, string][] {
  return Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)])
}

export function chunked(...chunks: string[]): string {
  return [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')
}

/** Life cycle of connections with the method translator. */
import type { EventEmitter } from 'node:events'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import tls from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { acceptBitsPost, acceptBitsPostEverywhere } from '../../../lib/http/bits-post/accept.ts'
import { certificate, closeAll, Host, plain, recorder, secure, transports } from './raw-connection.ts'

beforeAll(acceptBitsPostEverywhere)
afterEach(closeAll)

const BITS = 'BITS_POST /up HTTP/1.1\r\nHost: x\r\n\r\n'
const UPGRADE = 'GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n'

/**
 * Echoes the bytes after the request's head, each with '!', and records the listener counts of the socket.
 */
function echo(server: EventEmitter, event: 'upgrade' | 'connect'): { listenerCounts: number[] } {
  const listenerCounts: number[] = []
  server.on(event, (_req, socket: Duplex, first: Buffer) => {
    listenerCounts.push(socket.listenerCount('data'), socket.listenerCount('removeListener'))
    socket.write(`HTTP/1.1 101 Shouting\r\n\r\n${first}!`)
    socket.on('data', (chunk) => socket.write(`${chunk}!`))
    socket.on('end', () => socket.end())
  })
  return { listenerCounts }
}

describe.each(transports)('Connection over $over', (transport) => {
  it.each([
    { what: 'upgrade', event: 'upgrade', head: UPGRADE },
    { what: 'CONNECT', event: 'connect', head: 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n' },
  ] as const)('passes bytes unchanged and has no listeners left after $what', async ({ event, head }) => {
    for (const before of ['', BITS]) {
      for (const [first, ...rest] of [[head], [head.slice(0, 20), head.slice(20)], [`${head}BITS_POST `]]) {
        const server = transport.create(recorder().listener)
        const { listenerCounts } = echo(server, event)
        const connection = await (await Host.start(transport, server)).dial()
        if (before) {
          await connection.send(before)
          expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
        }
        await connection.send(first ?? '', ...rest, 'BITS_POST ', BITS)
        connection.socket.end()
        await new Promise((resolve) => connection.socket.once('close', resolve))
        const received = connection.received
          .slice(connection.received.indexOf('\r\n\r\n') + 4)
          .replaceAll('!', '')
        expect(received).toBe(`${first?.endsWith(' ') ? 'BITS_POST ' : ''}BITS_POST ${BITS}`)
        expect(listenerCounts).toEqual([0, 0])
      }
    }
  })

  it('passes the body of an upgrade and the bytes after it unchanged', async () => {
    const server = transport.create(recorder().listener)
    let received = ''
    // Since Node 26 the request emits the body, in earlier versions the socket.
    server.on('upgrade', (req: http.IncomingMessage, socket: Duplex, first: Buffer) => {
      const record = (chunk: Buffer) => {
        received += chunk.toString('latin1')
      }
      record(first)
      req.on('data', record)
      socket.on('data', record)
    })
    const connection = await (await Host.start(transport, server)).dial()
    await connection.send(
      UPGRADE.replace('\r\n\r\n', '\r\nContent-Length: 10\r\n\r\n'),
      'BITS_POST ',
      'BITS_POST /',
    )
    while (received.length < 21) await turn()
    expect(received).toBe('BITS_POST BITS_POST /')
  })

  it("handles an upgrade as an ordinary request without an 'upgrade' listener", async () => {
    const connection = await (await Host.start(transport, recorder().listener)).dial()
    await connection.send(BITS)
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
    await connection.send(UPGRADE)
    expect(await connection.recordedRequest()).toMatchObject({ method: 'GET' })
    await connection.send(BITS.replace('\r\n\r\n', '\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n'))
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
    await connection.send(BITS)
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
  })

  it('accepts BITS_POST at an HTTP server behind a CONNECT tunnel', async () => {
    const server = transport.create(recorder().listener)
    const inner = http.createServer(recorder().listener)
    acceptBitsPost(inner)
    server.on('connect', (_req, socket: Duplex) => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n')
      inner.emit('connection', socket)
    })
    const connection = await (await Host.start(transport, server)).dial()
    await connection.send('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await connection.reply()).toMatchObject({ status: 200 })
    for (let i = 0; i < 2; i++) {
      await connection.send(BITS)
      expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
    }
  })

  it("accepts BITS_POST while the application adds and removes 'data' listeners", async () => {
    const server = transport.create(recorder().listener)
    let received = 0
    const record = (chunk: Buffer) => {
      received += chunk.length
    }
    server.on(transport.accepted, (socket: Socket) => socket.once('data', record))
    const connection = await (await Host.start(transport, server)).dial()
    for (let i = 0; i < 3; i++) {
      await connection.send(BITS)
      expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
      connection.peer.on('data', record).off('data', record)
    }
    expect(received).toBe(BITS.length)
  })

  it('closes on the server when the client disconnects within the method, head or body', async () => {
    const host = await Host.start(transport, recorder().listener)
    for (const text of [
      '',
      'BITS_',
      'BITS_POST /up HTTP/1.1\r\nHo',
      BITS.replace('x', 'x\r\nContent-Length: 9'),
      BITS,
    ]) {
      const connection = await host.dial()
      await connection.send(text)
      connection.socket.destroy()
      while (host.peers.size > 0) await turn()
      expect(connection.peer.destroyed).toBe(true)
    }
  })
})

describe('Server without HTTP', () => {
  it.each([
    { over: 'net', transport: { ...plain, create: () => net.createServer() } },
    { over: 'tls', transport: { ...secure, create: () => tls.createServer(certificate) } },
  ])('receives its bytes unchanged over $over', async ({ transport }) => {
    const server = transport.create()
    server.on(transport.accepted, (socket: Socket) => socket.pipe(socket))
    const connection = await (await Host.start(transport, server)).dial()
    await connection.send('BITS_', 'POST / ', BITS)
    connection.socket.end()
    await new Promise((resolve) => connection.socket.once('close', resolve))
    expect(connection.received).toBe(`BITS_POST / ${BITS}`)
  })
})

describe('WebSockets (ws) on the same server', () => {
  it('carry any text unchanged while another connection sends BITS_POST requests', async () => {
    const host = await Host.start(plain, recorder().listener)
    const sockets = new WebSocketServer({ server: host.server as http.Server })
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data.toString())))
    const connection = await host.dial()
    const ask = async () => {
      await connection.send(BITS)
      expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
    }
    await ask()
    const client = new WebSocket(`ws://127.0.0.1:${host.port}/`)
    const received: string[] = []
    client.on('message', (data) => received.push(data.toString()))
    await new Promise((resolve) => client.once('open', resolve))
    const texts = ['BITS_POST ', BITS, 'BIND      ', BITS.repeat(5000)]
    for (const text of texts) {
      client.send(text)
      await ask()
    }
    while (received.length < texts.length) await turn()
    expect(received).toEqual(texts)
    client.close()
    await new Promise((resolve) => client.once('close', resolve))
    await ask()
    sockets.close()
  })
})

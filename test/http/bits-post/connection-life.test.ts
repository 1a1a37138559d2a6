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

/** Shouts back what it hears behind the request's head, and tells which listeners it found on the socket. */
function shout(server: EventEmitter, event: 'upgrade' | 'connect'): { left: number[] } {
  const left: number[] = []
  server.on(event, (_req, socket: Duplex, first: Buffer) => {
    left.push(socket.listenerCount('data'), socket.listenerCount('removeListener'))
    socket.write(`HTTP/1.1 101 Shouting\r\n\r\n${first}!`)
    socket.on('data', (chunk) => socket.write(`${chunk}!`))
    socket.on('end', () => socket.end())
  })
  return { left }
}

describe.each(transports)('Connection over $over', (transport) => {
  it.each([
    { what: 'upgrade', event: 'upgrade', head: UPGRADE },
    { what: 'CONNECT', event: 'connect', head: 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n' },
  ] as const)('passes bytes unchanged and has no listeners left after $what', async ({ event, head }) => {
    for (const before of ['', BITS]) {
      for (const [first, ...rest] of [[head], [head.slice(0, 20), head.slice(20)], [`${head}BITS_POST `]]) {
        const server = transport.create(recorder().listener)
        const { left } = shout(server, event)
        const wire = await (await Host.start(transport, server)).dial()
        if (before) {
          await wire.send(before)
          expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
        }
        await wire.send(first ?? '', ...rest, 'BITS_POST ', BITS)
        wire.socket.end()
        await new Promise((resolve) => wire.socket.once('close', resolve))
        const heard = wire.received.slice(wire.received.indexOf('\r\n\r\n') + 4).replaceAll('!', '')
        expect(heard).toBe(`${first?.endsWith(' ') ? 'BITS_POST ' : ''}BITS_POST ${BITS}`)
        expect(left).toEqual([0, 0])
      }
    }
  })

  it('passes the body of an upgrade and the bytes after it unchanged', async () => {
    const server = transport.create(recorder().listener)
    let heard = ''
    // Since Node 26 the body comes by the request, before that by the socket.
    server.on('upgrade', (req: http.IncomingMessage, socket: Duplex, first: Buffer) => {
      const hear = (chunk: Buffer) => {
        heard += chunk.toString('latin1')
      }
      hear(first)
      req.on('data', hear)
      socket.on('data', hear)
    })
    const wire = await (await Host.start(transport, server)).dial()
    await wire.send(
      UPGRADE.replace('\r\n\r\n', '\r\nContent-Length: 10\r\n\r\n'),
      'BITS_POST ',
      'BITS_POST /',
    )
    while (heard.length < 21) await turn()
    expect(heard).toBe('BITS_POST BITS_POST /')
  })

  it("handles an upgrade as an ordinary request without an 'upgrade' listener", async () => {
    const wire = await (await Host.start(transport, recorder().listener)).dial()
    await wire.send(BITS)
    expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
    await wire.send(UPGRADE)
    expect(await wire.asked()).toMatchObject({ method: 'GET' })
    await wire.send(BITS.replace('\r\n\r\n', '\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n'))
    expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
    await wire.send(BITS)
    expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
  })

  it('accepts BITS_POST at an HTTP server behind a CONNECT tunnel', async () => {
    const server = transport.create(recorder().listener)
    const inner = http.createServer(recorder().listener)
    acceptBitsPost(inner)
    server.on('connect', (_req, socket: Duplex) => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n')
      inner.emit('connection', socket)
    })
    const wire = await (await Host.start(transport, server)).dial()
    await wire.send('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await wire.reply()).toMatchObject({ status: 200 })
    for (let i = 0; i < 2; i++) {
      await wire.send(BITS)
      expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
    }
  })

  it("accepts BITS_POST while the application adds and removes 'data' listeners", async () => {
    const server = transport.create(recorder().listener)
    let heard = 0
    const hear = (chunk: Buffer) => {
      heard += chunk.length
    }
    server.on(transport.accepted, (socket: Socket) => socket.once('data', hear))
    const wire = await (await Host.start(transport, server)).dial()
    for (let i = 0; i < 3; i++) {
      await wire.send(BITS)
      expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
      wire.peer.on('data', hear).off('data', hear)
    }
    expect(heard).toBe(BITS.length)
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
      const wire = await host.dial()
      await wire.send(text)
      wire.socket.destroy()
      while (host.peers.size > 0) await turn()
      expect(wire.peer.destroyed).toBe(true)
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
    const wire = await (await Host.start(transport, server)).dial()
    await wire.send('BITS_', 'POST / ', BITS)
    wire.socket.end()
    await new Promise((resolve) => wire.socket.once('close', resolve))
    expect(wire.received).toBe(`BITS_POST / ${BITS}`)
  })
})

describe('WebSockets (ws) on the same server', () => {
  it('carry any text unchanged while another connection sends BITS_POST requests', async () => {
    const host = await Host.start(plain, recorder().listener)
    const sockets = new WebSocketServer({ server: host.server as http.Server })
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data.toString())))
    const wire = await host.dial()
    const ask = async () => {
      await wire.send(BITS)
      expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
    }
    await ask()
    const client = new WebSocket(`ws://127.0.0.1:${host.port}/`)
    const heard: string[] = []
    client.on('message', (data) => heard.push(data.toString()))
    await new Promise((resolve) => client.once('open', resolve))
    const said = ['BITS_POST ', BITS, 'BIND      ', BITS.repeat(5000)]
    for (const text of said) {
      client.send(text)
      await ask()
    }
    while (heard.length < said.length) await turn()
    expect(heard).toEqual(said)
    client.close()
    await new Promise((resolve) => client.once('close', resolve))
    await ask()
    sockets.close()
  })
})

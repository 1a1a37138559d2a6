/** acceptBitsPost(server) alone: no test here calls acceptBitsPostEverywhere(). */
import { once } from 'node:events'
import http, { type Server } from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import tls from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { acceptBitsPost } from '../../../lib/http/bits-post/accept.ts'
import {
  BITS,
  certificate,
  closeAll,
  Host,
  plain,
  recorder,
  SEEN,
  secure,
  type Transport,
  transports,
} from './raw-connection.ts'

afterEach(closeAll)

/** HTTP/1 and HTTP/2 on one port; the client of the tests does not offer h2, so it gets HTTP/1. */
const both: Transport = {
  ...secure,
  over: 'https with HTTP/2',
  create: (listener) =>
    http2.createSecureServer(
      { ...certificate, allowHTTP1: true },
      listener as never,
    ) as unknown as net.Server,
}

describe.each([...transports, both])('acceptBitsPost over $over', (transport) => {
  it('accepts BITS_POST on the given server only; another server returns 400', async () => {
    const accepting = await Host.start(transport, recorder().listener)
    const unmodified = await Host.start(transport, recorder().listener)
    acceptBitsPost(accepting.server as Server)
    for (let i = 0; i < 2; i++) {
      const connection = await accepting.dial()
      await connection.send(...BITS)
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
      const refused = await unmodified.dial()
      await refused.send(BITS)
      expect(await refused.reply()).toMatchObject({ status: 400 })
    }
  })

  it('adds one listener and accepts BITS_POST when called twice before the server listens', async () => {
    const server = transport.create(recorder().listener)
    const before = server.listenerCount(transport.accepted)
    acceptBitsPost(server as Server)
    acceptBitsPost(server as Server)
    expect(server.listenerCount(transport.accepted)).toBe(before + 1)
    const connection = await (await Host.start(transport, server)).dial()
    await connection.send(BITS)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
  })

  it('does not change other listeners of the server', () => {
    const names = (server: net.Server) =>
      server.eventNames().map((name) => `${String(name)} ${server.listenerCount(name)}`)
    const accepting = transport.create(recorder().listener)
    acceptBitsPost(accepting as Server)
    const unmodified = transport.create(recorder().listener)
    unmodified.on(transport.accepted, () => {})
    expect(names(accepting)).toEqual(names(unmodified))
  })
})

describe('HTTP/2 server with allowHTTP1', () => {
  it("serves HTTP/2 without 'data' listeners on its sockets, and BITS_POST over HTTP/1.1", async () => {
    const { requests, listener } = recorder()
    const server = both.create(listener)
    acceptBitsPost(server as Server)
    const host = await Host.start(both, server)
    const counts: number[] = []
    server.on('secureConnection', (socket: tls.TLSSocket) => counts.push(socket.listenerCount('data')))
    const client = http2.connect(`https://127.0.0.1:${host.port}`, { rejectUnauthorized: false })
    for (const method of ['GET', 'POST', 'BIND']) {
      const stream = client.request({ ':method': method, ':path': '/up' })
      stream.end(method === 'GET' ? undefined : BITS)
      let text = ''
      for await (const part of stream.setEncoding('utf8')) text += part
      expect(JSON.parse(text)).toMatchObject({ method, url: '/up', body: method === 'GET' ? '' : BITS })
    }
    client.close()
    await once(client, 'close')
    const connection = await host.dial()
    await connection.send(BITS)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
    expect(requests).toHaveLength(4)
    expect(counts[0]).toBe(0)
  })
})

describe("server.emit('connection', …)", () => {
  it('accepts BITS_POST on a custom Duplex', async () => {
    const server = http.createServer(recorder().listener)
    acceptBitsPost(server)
    const up = new PassThrough()
    const down = new PassThrough()
    server.emit('connection', Duplex.from({ readable: up, writable: down }))
    for (let i = 0; i < 3; i++) {
      for (const byte of BITS) up.write(byte)
      const [answer] = (await once(down, 'data')) as [Buffer]
      expect(JSON.parse(answer.toString().split('\r\n\r\n')[1] ?? '')).toMatchObject(SEEN)
    }
    up.end()
    down.destroy()
  })

  it('accepts BITS_POST on a socket after another server has read and unshifted its first byte', async () => {
    const inner = http.createServer(recorder().listener)
    acceptBitsPost(inner)
    const outer = net.createServer((socket) => {
      socket.once('data', (first) => {
        socket.pause()
        socket.unshift(first)
        inner.emit('connection', socket)
        socket.resume()
      })
    })
    const connection = await (await Host.start(plain, outer)).dial()
    for (let i = 0; i < 3; i++) {
      await connection.send('B', BITS.slice(1))
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
    }
  })

  it('accepts BITS_POST on a raw socket that is passed to an https server', async () => {
    const inner = secure.create(recorder().listener)
    acceptBitsPost(inner as Server)
    const outer = net.createServer((socket) => inner.emit('connection', socket))
    const host = await Host.start({ ...plain, dial: secure.dial, dialled: secure.dialled }, outer)
    const { socket } = await host.dial()
    socket.write(BITS)
    const [answer] = (await once(socket, 'data')) as [string]
    expect(answer).toContain('"BITS_POST"')
  })
})

describe('acceptBitsPost', () => {
  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a function', () => {}],
    ['an object', {}],
    ['a net.Server', net.createServer()],
    ['a tls.Server', tls.createServer()],
    ['an http2 server without TLS', http2.createServer()],
  ])('throws a TypeError for %s', (_what, argument) => {
    expect(() => acceptBitsPost(argument as unknown as Server)).toThrow(TypeError)
    expect(() => acceptBitsPost(argument as unknown as Server)).toThrow(
      /^acceptBitsPost: expected an http\.Server/,
    )
  })
})

/**
 * Connections keep the native reads of Node: the library adds no listener to them, and their parsers return
 * to the pool that all servers and clients of the process share. Only servers passed to acceptBitsPost()
 * accept BITS_POST here.
 */
import { once } from 'node:events'
import http, { type RequestListener, type Server } from 'node:http'
import net, { type Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { acceptBitsPost } from '../../../lib/http/bits-post/accept.ts'
import { Program } from '../../support/program.ts'
import {
  BITS,
  chunked,
  closeAll,
  everyCut,
  Host,
  plain,
  recorder,
  SEEN,
  type Transport,
  transports,
} from './raw-connection.ts'

afterEach(closeAll)

const GET = 'GET /foreign HTTP/1.1\r\nHost: x\r\n\r\n'
const POST = 'POST /foreign HTTP/1.1\r\nHost: x\r\n'
/** Node's parser stops at the third of these bytes. */
const METHOD = 'BITS_POST '

/** The properties of a parser that show which connection uses it. */
interface Parser {
  readonly _consumed: boolean
  readonly socket: Socket | null
}
const parserOf = (socket: Socket): Parser => (socket as Socket & { parser: Parser }).parser

async function startAccepting(
  transport: Transport,
  app: RequestListener | Server = recorder().listener,
): Promise<Host> {
  const server = typeof app === 'function' ? (transport.create(app) as Server) : app
  acceptBitsPost(server)
  return Host.start(transport, server)
}

/** The listeners of a socket, without those for 'close', because each pending answer has one. */
const listenersOf = (socket: Socket) =>
  socket
    .eventNames()
    .filter((name) => name !== 'close')
    .map((name) => `${String(name)} ${socket.listenerCount(name)}`)

/** The connections in Node's list of a server. */
function connectionsOf(server: net.Server): unknown[] {
  const name = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'http.server.connections',
  ) as symbol
  return (server as unknown as Record<symbol, { all(): unknown[] }>)[name]?.all() ?? []
}

describe.each(transports)('Connection with acceptBitsPost over $over', (transport) => {
  it('is read natively and has no additional listeners, for any request', async () => {
    const host = await startAccepting(transport)
    const unmodified = await Host.start(transport, recorder().listener)
    const foreign = await unmodified.dial()
    const connection = await host.dial()
    expect(connection.peer.listenerCount('close')).toBe(foreign.peer.listenerCount('close'))
    const packets = [
      GET,
      `${POST}Content-Length: 2\r\n\r\n`,
      'hi',
      BITS.slice(0, 4),
      BITS.slice(4),
      BITS,
      GET,
    ]
    for (const packet of packets) {
      expect(parserOf(connection.peer)._consumed).toBe(true)
      await connection.send(packet)
      expect(parserOf(connection.peer)._consumed).toBe(true)
      if (!packet.endsWith(': 2\r\n\r\n') && packet !== 'BITS') await connection.recordedRequest()
      expect(listenersOf(connection.peer)).toEqual(listenersOf(foreign.peer))
    }
  })

  it("passes unchanged bytes to a 'data' listener added at any time, and still reads BITS_POST", async () => {
    const text = `${POST}Content-Length: 2\r\n\r\nhi`
    for (const first of [...everyCut(BITS), ...everyCut(text).slice(-4)].map(([cut]) => cut)) {
      const host = await startAccepting(transport)
      const connection = await host.dial()
      const rest = (first.startsWith('B') ? BITS : text).slice(first.length)
      await connection.send(first)
      let heard = ''
      connection.peer.on('data', (chunk: Buffer) => {
        heard += chunk.toString('latin1')
      })
      expect(parserOf(connection.peer)._consumed).toBe(false)
      await connection.send(rest)
      expect(await connection.recordedRequest()).toMatchObject(
        first.startsWith('B') ? SEEN : { method: 'POST', body: 'hi' },
      )
      for (const cut of [[BITS], ['B', BITS.slice(1)], ['BITS', BITS.slice(4)]]) {
        await connection.send(...cut)
        expect(await connection.recordedRequest()).toMatchObject(SEEN)
      }
      expect(heard).toBe(rest + BITS.repeat(3))
      connection.socket.destroy()
    }
  })

  it("emits no 'clientError' for a BITS_POST split at any byte", async () => {
    const server = transport.create(recorder().listener) as Server
    const errors: unknown[] = []
    server.on('clientError', (error) => errors.push(error))
    const host = await startAccepting(transport, server)
    const connection = await host.dial()
    for (const cut of [[BITS], [...BITS], ...everyCut(BITS)]) {
      await connection.send(...cut)
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
    }
    expect(errors).toEqual([])
    expect(connection.peer.listenerCount('error')).toBeGreaterThan(0)
  })

  it("emits 'upgrade' with the method BITS_POST and the bytes after the head", async () => {
    const head = 'BITS_POST /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n'
    for (const cut of [
      [`${head}now`],
      [head.slice(0, 1), `${head.slice(1)}now`],
      [head.slice(0, 7), `${head.slice(7)}now`],
    ]) {
      const server = transport.create() as Server
      const upgrades: unknown[] = []
      server.on('upgrade', (request, socket, first) => {
        upgrades.push([request.method, request.url, first.toString(), request.headers.upgrade])
        socket.write('HTTP/1.1 101 Shouting\r\n\r\n')
        socket.pipe(socket)
      })
      const connection = await (await startAccepting(transport, server)).dial()
      await connection.send(...cut)
      expect(await connection.reply()).toMatchObject({ status: 101 })
      expect(upgrades).toEqual([['BITS_POST', '/chat', 'now', 'shout']])
      await connection.send(BITS)
      while (connection.received.length < BITS.length) await turn()
      expect(connection.received).toBe(BITS)
    }
  })
})

describe.each([
  { how: 'natively', ask: () => {} },
  { how: 'through JavaScript', ask: (socket: Socket) => socket.on('data', () => {}) },
])('Connection with acceptBitsPost, read $how', ({ ask }) => {
  async function start(listener = recorder().listener) {
    const server = http.createServer(listener)
    const host = await startAccepting(plain, server)
    server.on('connection', ask)
    return host
  }

  it('accepts a BITS_POST method split at every byte, after each kind of message', async () => {
    const connection = await (await start()).dial()
    const foreign = [
      GET,
      `${POST}Content-Length: 10\r\n\r\nBITS_POST `,
      `${POST}Transfer-Encoding: chunked\r\n\r\n${chunked('hello', 'BITS_POST / ')}`,
      `${GET.trimEnd()}\r\nConnection: Upgrade\r\nUpgrade: nothing\r\n\r\n`,
      'BIND / HTTP/1.1\r\nHost: x\r\n\r\n',
      `\r\n${GET}`,
    ]
    for (const message of foreign) {
      for (const cut of [[BITS], [...BITS], ...everyCut(BITS).slice(0, 12)]) {
        await connection.send(message)
        expect(await connection.recordedRequest()).not.toMatchObject({ method: 'BITS_POST' })
        await connection.send(...cut)
        expect(await connection.recordedRequest(), JSON.stringify([message, cut])).toMatchObject(SEEN)
      }
    }
  })

  const others = [
    'L',
    'LI',
    'RE',
    'UN',
    'REB',
    'UNBI',
    'SU',
    'M',
    'P',
    'X',
    'BIN',
    'BB',
    'BBI',
    'BIT',
    'BITS_POST',
  ]
  it.each(
    others.flatMap((first) => [METHOD, 'ITS_POST ', 'TS_POST ', 'S_POST '].map((rest) => [first, rest])),
  )('returns 400 for %j followed by %j, unless they form the BITS_POST method', async (first, rest) => {
    const { requests, listener } = recorder()
    const host = await start(listener)
    const isMethod = `${first}${rest}` === METHOD
    const tail = '/ HTTP/1.1\r\nHost: x\r\n\r\n'
    // In one packet, in two, and with its start in one packet with the previous message.
    for (const before of ['', GET, `${POST}Content-Length: 2\r\n\r\nhi`]) {
      for (const packets of [[`${first}${rest}${tail}`], [first, `${rest}${tail}`]]) {
        const connection = await host.dial()
        if (before) {
          await connection.send(before)
          await connection.recordedRequest()
        }
        requests.length = 0
        await connection.send(...packets)
        expect(await connection.reply()).toMatchObject({ status: isMethod ? 200 : 400 })
        expect(requests).toHaveLength(isMethod ? 1 : 0)
        connection.socket.destroy()
      }
      if (!before) continue
      requests.length = 0
      const connection = await host.dial()
      await connection.send(`${before}${first}`, `${rest}${tail}`)
      let last = await connection.reply()
      if (last?.status === 200) last = await connection.reply()
      expect(last).toMatchObject({ status: 400 })
      expect(requests.map(({ method }) => method)).toEqual([before.split(' ')[0]])
      connection.socket.destroy()
    }
  })

  it.each(['RE', 'UN', 'L', 'B', 'BI', 'REB', '\r\n', 'BITS_POST '])(
    'accepts BITS_POST in one segment with the end %j of a body',
    async (end) => {
      const host = await start(recorder({ early: true }).listener)
      for (const cut of everyCut(BITS).slice(0, 11)) {
        const connection = await host.dial()
        await connection.send(`${POST}Content-Length: ${5 + end.length}\r\n\r\nhe`)
        expect(await connection.reply()).toMatchObject({ status: 200 })
        await connection.send(`llo${end}${cut[0]}`, cut[1])
        expect(await connection.recordedRequest(), JSON.stringify(cut)).toMatchObject({
          method: 'BITS_POST',
          url: '/up',
        })
        connection.socket.destroy()
      }
      const connection = await host.dial()
      await connection.send(`${POST}Content-Length: 5\r\n\r\nhe`)
      await connection.reply()
      await connection.send(`llo${end}X${BITS}`)
      expect(await connection.reply()).toMatchObject({ status: 400 })
    },
  )

  it.each(['RE', 'UN'])('returns 400 for the method %sBITS_POST after a body', async (first) => {
    const { requests, listener } = recorder({ early: true })
    const host = await start(listener)
    for (const cut of [['', ''], ...everyCut(`${first}${METHOD}`)]) {
      requests.length = 0
      const connection = await host.dial()
      await connection.send(`${POST}Content-Length: 5\r\n\r\nhe`)
      await connection.reply()
      const text = `${first}${BITS}`
      await connection.send(`llo${text.slice(0, cut[0]?.length)}`, text.slice(cut[0]?.length))
      expect(await connection.reply(), JSON.stringify(cut)).toMatchObject({ status: 400 })
      expect(requests).toMatchObject([{ method: 'POST', body: 'hello' }])
    }
  })

  it("emits the same 'clientError' events as a server without acceptBitsPost", async () => {
    const hear = (server: Server) => {
      const heard: unknown[] = []
      server.on('clientError', (error: Error & Record<string, unknown>, socket: Duplex) => {
        const { code, reason, message, bytesParsed, rawPacket } = error
        heard.push({ code, reason, message, bytesParsed, rawPacket: String(rawPacket) })
        socket.destroy()
      })
      return heard
    }
    const unmodified = http.createServer(recorder().listener)
    unmodified.on('connection', ask)
    const hosts = [await start(), await Host.start(plain, unmodified)] as const
    const heard = hosts.map(({ server }) => hear(server as Server))
    const wrong = [
      ['FOO / HTTP/1.1\r\n\r\n'],
      ['BITX / HTTP/1.1\r\n\r\n'],
      ['BITS_POSTX / HTTP/1.1\r\n\r\n'],
      ['GET / HTTP/1.1\r\nA: b\u0000\r\n\r\n'],
      ['GET / HTTP/1.1\r\nHo', 'st: x\r\n B\r\n\r\n'],
      [`${POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\n`],
      [`${POST}Transfer-Encoding: chunked\r\n\r\nX\r\n`],
      [GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\nmore')],
      ['\u0016\u0003\u0001'],
      ['B', 'X / HTTP/1.1\r\n\r\n'],
    ]
    for (const packets of wrong) {
      for (const host of hosts) {
        const connection = await host.dial()
        await connection.send(...packets)
        if (!connection.socket.closed) await once(connection.socket, 'close')
      }
    }
    expect(heard[0]).toHaveLength(wrong.length)
    expect(heard[0]).toEqual(heard[1])
  })

  it("emits 'clientError' with the offset and segment of a wrong byte in a split method", async () => {
    const host = await start()
    const heard: unknown[] = []
    host.server.on('clientError', (error, socket) => {
      const { code, message, bytesParsed, rawPacket } = error
      heard.push([code, message, bytesParsed, String(rawPacket)])
      socket.destroy()
    })
    const connection = await host.dial()
    await connection.send('BITS_', 'PUT / HTTP/1.1\r\n')
    await once(connection.socket, 'close')
    const message = expect.stringMatching(/^Parse Error: Invalid method/)
    expect(heard).toEqual([['HPE_INVALID_METHOD', message, 1, 'PUT / HTTP/1.1\r\n']])
  })

  it("emits 'clientError' with the offset of an error after a BITS_POST and a GET", async () => {
    const { requests, listener } = recorder()
    const host = await start(listener)
    const heard: unknown[] = []
    host.server.on('clientError', (error, socket) => {
      heard.push([error.bytesParsed, String(error.rawPacket)])
      socket.destroy()
    })
    const packet = `${BITS}${GET}FOO / HTTP/1.1\r\n`
    const connection = await host.dial()
    await connection.send(packet)
    if (!connection.socket.closed) await once(connection.socket, 'close')
    expect(requests.map(({ method, body }) => [method, body])).toEqual([
      ['BITS_POST', 'hello'],
      ['GET', ''],
    ])
    expect(heard).toEqual([[packet.indexOf('FOO') + 1, packet]])
  })
})

it('acceptBitsPost: accepts a custom Duplex that splits BITS_POST and reuses its buffers', async () => {
  const server = http.createServer(recorder().listener)
  acceptBitsPost(server)
  for (const [first, rest] of everyCut(BITS)) {
    const up = new PassThrough()
    const down = new PassThrough()
    server.emit('connection', Duplex.from({ readable: up, writable: down }))
    const pieces = [Buffer.from(first), Buffer.from(rest)]
    for (let i = 0; i < 2; i++) {
      for (const piece of pieces) up.write(piece)
      const [answer] = (await once(down, 'data')) as [Buffer]
      expect(JSON.parse(answer.toString().split('\r\n\r\n')[1] ?? '')).toMatchObject(SEEN)
    }
    expect(Buffer.concat(pieces).toString()).toBe(BITS)
    up.end()
    down.destroy()
  }
})

describe('HTTP server with acceptBitsPost', () => {
  const shortInterval = { connectionsCheckingInterval: 50 }

  it.each(['B', 'BI', 'BIT', 'BITS_POST', 'BITS_POST ', 'BITS_POST / HTTP/1.1\r\nHo'])(
    'returns 408 after headersTimeout when the client sends only %j',
    async (text) => {
      const server = http.createServer({ ...shortInterval, headersTimeout: 100 }, recorder().listener)
      const host = await startAccepting(plain, server)
      for (const before of ['', BITS]) {
        const connection = await host.dial()
        if (before) {
          await connection.send(before)
          await connection.recordedRequest()
        }
        await connection.send(text)
        expect(await connection.reply()).toMatchObject({ status: 408 })
      }
    },
  )

  it('returns 408 after requestTimeout when the body is incomplete', async () => {
    const server = http.createServer({ ...shortInterval, headersTimeout: 100, requestTimeout: 200 }, () => {})
    const connection = await (await startAccepting(plain, server)).dial()
    await connection.send(BITS.slice(0, -1))
    expect(await connection.reply()).toMatchObject({ status: 408 })
  })

  it('lists a connection once, and as idle, after 3,000 BITS_POST requests', async () => {
    const host = await startAccepting(plain)
    const connection = await host.dial()
    for (let i = 0; i < 3000; i++) {
      connection.socket.write(BITS)
      await connection.recordedRequest()
    }
    const server = host.server as Server
    expect(connectionsOf(server)).toHaveLength(1)
    const busy = await host.dial()
    await busy.send('BITS_')
    const reading = await host.dial()
    await reading.send(BITS.slice(0, -1))
    expect(connectionsOf(server)).toHaveLength(3)
    server.closeIdleConnections()
    await once(connection.socket, 'close')
    await busy.send(BITS.slice(5))
    expect(await busy.recordedRequest()).toMatchObject(SEEN)
    await reading.send('o')
    expect(await reading.recordedRequest()).toMatchObject(SEEN)
    server.closeAllConnections()
    await Promise.all([busy, reading].map(({ socket }) => socket.closed || once(socket, 'close')))
    while (host.peers.size > 0) await turn()
    expect(connectionsOf(server)).toEqual([])
  })
})

it('HTTP server with acceptBitsPost: lists each of 40 connections once, in any order', async () => {
  const host = await startAccepting(plain)
  const connections = await Promise.all(Array.from({ length: 40 }, () => host.dial()))
  for (let round = 0; round < 3; round++) {
    for (const connection of connections) await connection.send('BITS_')
    for (const connection of connections.toSorted(() => Math.random() - 0.5)) {
      await connection.send(BITS.slice(5))
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
    }
    expect(new Set(connectionsOf(host.server)).size).toBe(connections.length)
    expect(connectionsOf(host.server)).toHaveLength(connections.length)
  }
  for (const { socket } of connections) socket.destroy()
  while (host.peers.size > 0) await turn()
  expect(connectionsOf(host.server)).toEqual([])
})

describe('Pooled parser', () => {
  it.each(['', GET, BITS, 'B', 'BITS_', 'BITS_POST ', BITS.slice(0, -1), `${BITS}B`])(
    'serves a client and a server without acceptBitsPost unchanged after %j',
    async (last) => {
      const host = await startAccepting(plain)
      const { requests, listener } = recorder()
      const unmodified = await Host.start(plain, listener)
      // A response without a length ends with the connection, and the parser must process that end.
      const other = net.createServer((socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\nBITS_POST / HTTP/1.1\r\n\r\n'))
        socket.on('error', () => {})
      })
      const { port } = await Host.start({ ...plain, accepted: 'other' }, other)
      const free = async () => {
        const connection = await host.dial()
        const parser = parserOf(connection.peer)
        await connection.send(last)
        connection.socket.destroy()
        while (host.peers.size > 0) await turn()
        expect(parser.socket).toBeNull()
        return parser
      }

      const freed = await free()
      const request = http.get({ host: '127.0.0.1', port, agent: false })
      const [socket] = (await once(request, 'socket')) as [Socket]
      await once(socket, 'connect')
      expect(parserOf(socket)).toBe(freed)
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      let text = ''
      for await (const part of response.setEncoding('latin1')) text += part
      expect(text).toBe('BITS_POST / HTTP/1.1\r\n\r\n')

      for (const isNative of [true, false]) {
        const again = await free()
        const connection = await unmodified.dial()
        expect(parserOf(connection.peer)).toBe(again)
        if (!isNative) connection.peer.on('data', () => {})
        await connection.send(GET)
        expect(await connection.recordedRequest()).toMatchObject({ method: 'GET' })
        await connection.send(BITS)
        expect(await connection.reply()).toMatchObject({ status: 400 })
        // Kept open, so that the next connection does not get its parser.
        await unmodified.dial()
      }
      expect(requests.map(({ method }) => method)).toEqual(['GET', 'GET'])
    },
  )
})

describe('BITS_POST parsing', () => {
  const LENIENT = 'BITS_POST / HTTP/1.1\nHost: x\n\n'

  it('follows the insecureHTTPParser option of the server', async () => {
    for (const insecureHTTPParser of [true, false]) {
      const connection = await (
        await startAccepting(plain, http.createServer({ insecureHTTPParser }, recorder().listener))
      ).dial()
      await connection.send(LENIENT)
      expect(await connection.reply()).toMatchObject({ status: insecureHTTPParser ? 200 : 400 })
    }
  })

  it.each([
    { by: 'command line', args: ['--insecure-http-parser'], env: {} },
    { by: 'NODE_OPTIONS', args: [], env: { NODE_OPTIONS: '--insecure-http-parser' } },
  ])('follows --insecure-http-parser set by $by', async ({ args, env }) => {
    const program = new Program([process.execPath, ...args, '--import', 'tsx'], {
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
      args: ['test/http/bits-post/bits-post-server.mjs'],
      env: { ...process.env, ...env },
    })
    const [, port] = await program.says(/port: (\d+)/)
    const socket = net.connect(Number(port), '127.0.0.1')
    socket.write(LENIENT)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /)
    socket.destroy()
  })

  it('returns 431 for a head above maxHeaderSize of the server', async () => {
    const connection = await (
      await startAccepting(plain, http.createServer({ maxHeaderSize: 200 }, recorder().listener))
    ).dial()
    await connection.send(BITS)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
    await connection.send(BITS.replace('Host', `Note: ${'x'.repeat(200)}\r\nHost`))
    expect(await connection.reply()).toMatchObject({ status: 431 })
  })
})

it('acceptBitsPost: warns once and changes nothing when Node does not read the connections', async () => {
  const warnings: Error[] = []
  const hear = (warning: Error) => warnings.push(warning)
  process.on('warning', hear)
  const server = http.createServer()
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => socket.pipe(socket))
  const host = await startAccepting(plain, server)
  for (let i = 0; i < 2; i++) {
    const connection = await host.dial()
    await connection.send(BITS)
    while (connection.received.length < BITS.length) await turn()
    expect(connection.received).toBe(BITS)
  }
  await turn()
  process.off('warning', hear)
  expect(warnings).toMatchObject([{ code: 'BITS_POST_REFUSED' }])
})

import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import express from 'express'
import supertest from 'supertest'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { acceptBitsPost, acceptBitsPostEverywhere } from '../../../lib/http/bits-post/accept.ts'
import {
  apps,
  certificate,
  closeAll,
  everyAppAndTransport,
  everyCut,
  Host,
  plain,
  type RawConnection,
  recorder,
  secure,
  transports,
} from './raw-connection.ts'

beforeAll(acceptBitsPostEverywhere)
afterEach(closeAll)

const HEAD = 'BITS_POST /up/f.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n'
const SEEN = { method: 'BITS_POST', url: '/up/f.bin', body: 'hello' }

/** The answer of Node to a request that it cannot parse. */
const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'

describe.each(everyAppAndTransport)('$app over $over', ({ mount, transport }) => {
  it('receives the method BITS_POST for each request of a connection', async () => {
    const host = await Host.start(transport, mount(recorder().listener))
    const connection = await host.dial()
    for (let i = 0; i < 3; i++) {
      await connection.send(`${HEAD}hello`)
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
    }
  })

  it('receives the method BITS_POST when it is sent one byte at a time', async () => {
    const host = await Host.start(transport, mount(recorder().listener))
    const connection = await host.dial()
    await connection.send(...`${HEAD}hello`)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
  })
})

describe.each(transports)('BITS_POST over $over', (transport) => {
  it('arrives in the segments that the test client sends', async () => {
    const host = await Host.start(transport, recorder().listener)
    const sizes: number[] = []
    host.server.on(transport.accepted, (socket: Socket) => {
      socket.on('data', (chunk: Buffer) => sizes.push(chunk.length))
    })
    const connection = await host.dial()
    await connection.send('BITS_P', 'OST /', ` HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST', url: '/' })
    expect(sizes).toEqual([6, 5, 22])
  })

  it('is read when split at any byte', async () => {
    const { requests, listener } = recorder()
    const host = await Host.start(transport, listener)
    const cuts = everyCut(`${HEAD}hello`)
    for (const cut of cuts) {
      const connection = await host.dial()
      await connection.send(...cut)
      expect(await connection.recordedRequest(), JSON.stringify(cut)).toMatchObject(SEEN)
      connection.socket.destroy()
    }
    expect(requests).toHaveLength(cuts.length)
  })

  it('is read when split at any byte on a keep-alive connection', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    for (const cut of everyCut(`${HEAD}hello`)) {
      await connection.send(...cut)
      expect(await connection.recordedRequest(), JSON.stringify(cut)).toMatchObject(SEEN)
    }
  })

  it('does not change the other methods, split at any byte', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    const methods = http.METHODS.filter((method) => method !== 'CONNECT' && method !== 'HEAD')
    expect(methods).toContain('BIND')
    for (const method of methods) {
      const token = `${method} /`
      for (const [first, rest] of everyCut(token)) {
        await connection.send(first, `${rest} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`)
        expect(await connection.recordedRequest()).toMatchObject({ method, url: '/' })
      }
    }
  })

  it('is read after blank lines', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    await connection.send(`\r\n\r\n${HEAD}hello`)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
    await connection.send('\r', '\n', `\r\n${HEAD}hello`)
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
  })

  it('is read with several spaces before the URL', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    await connection.send('BITS_POST    /a HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST', url: '/a' })
  })

  it('is read when sent in the tick in which the client reads the previous answer', async () => {
    const { requests, listener } = recorder()
    const host = await Host.start(transport, listener)
    const { socket } = await host.dial()
    await new Promise<void>((resolve) => {
      let text = ''
      socket.on('data', (part) => {
        text += part
        if (!text.endsWith('}')) return
        text = ''
        if (requests.length === 50) resolve()
        else socket.write(`${HEAD}hello`)
      })
      socket.write(`${HEAD}hello`)
    })
    expect(requests.map(({ method }) => method)).toEqual(Array(50).fill('BITS_POST'))
  })

  it('is read after an early answer and the rest of the previous body', async () => {
    const { requests, listener } = recorder({ early: true })
    const host = await Host.start(transport, listener)
    const connection = await host.dial()
    for (let i = 0; i < 5; i++) {
      await connection.send(HEAD)
      expect(await connection.reply()).toMatchObject({ status: 200 })
      await connection.send('hello', HEAD)
      expect(await connection.reply()).toMatchObject({ status: 200 })
      await connection.send('he', 'llo')
    }
    expect(requests.map(({ method }) => method)).toEqual(Array(10).fill('BITS_POST'))
    expect(new Set(requests.map(({ body }) => body))).toEqual(new Set(['hello']))
  })

  it('keeps the peer address and certificate readable', async () => {
    const tls = transport === secure
    const listener = (req: IncomingMessage, res: ServerResponse) => {
      const socket = req.socket as TLSSocket
      const peer = tls ? socket.getPeerCertificate().subject.CN : ''
      res.end(JSON.stringify({ address: socket.remoteAddress, encrypted: socket.encrypted, peer }))
    }
    const options = { ...certificate, requestCert: true, rejectUnauthorized: false }
    const host = await Host.start(
      transport,
      tls ? https.createServer(options, listener) : http.createServer(listener),
    )
    const request = tls ? https.request : http.request
    const body = await new Promise<string>((resolve, reject) => {
      const { port } = host
      const client = { ...certificate, rejectUnauthorized: false, agent: false as const }
      request({ ...client, host: '127.0.0.1', port, method: 'BITS_POST' }, (res) => {
        res.setEncoding('utf8').on('data', resolve)
      })
        .on('error', reject)
        .end()
    })
    const encrypted = tls ? { encrypted: true } : {}
    expect(JSON.parse(body)).toEqual({ address: '127.0.0.1', ...encrypted, peer: tls ? 'localhost' : '' })
  })
})

describe('BITS_POST in applications', () => {
  it.each(apps)('can be sent by supertest to $app', async ({ mount }) => {
    const app = mount(recorder().listener)
    const { body } = await new supertest.Test(app, 'BITS_POST', '/up').send('hello').parse(asJson)
    expect(body).toMatchObject({ method: 'BITS_POST', url: '/up', body: 'hello' })
  })

  it('is req.method in Express middleware and in app.route().all()', async () => {
    const app = express()
    const seen: string[] = []
    app.use((req, _res, next) => {
      seen.push(req.method)
      next()
    })
    app.post('/up/:name', (_req, res) => {
      res.end('post')
    })
    app.use('/up', (req, _res, next) => {
      seen.push(req.method)
      next()
    })
    // Not app.all(): it adds one route for each of http.METHODS, which does not contain BITS_POST.
    app.route('/up/:name').all((req, res) => {
      seen.push(req.method)
      res.end('all')
    })
    const { text } = await new supertest.Test(app, 'BITS_POST', '/up/f')
    expect(text).toBe('all')
    expect(seen).toEqual(['BITS_POST', 'BITS_POST', 'BITS_POST'])
  })

  it('can be sent by a keep-alive http.Agent, mixed with other methods', async () => {
    const { requests, listener } = recorder()
    const host = await Host.start(plain, listener)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (const method of ['BITS_POST', 'GET', 'BITS_POST', 'BIND', 'POST', 'BITS_POST']) {
      await new Promise<void>((resolve, reject) => {
        http
          .request(
            { agent, host: '127.0.0.1', port: host.port, method, headers: { 'content-length': 5 } },
            (res) => {
              res.resume().on('end', resolve)
            },
          )
          .on('error', reject)
          .end('hello')
      })
    }
    agent.destroy()
    expect(host.peers.size).toBeLessThanOrEqual(1)
    expect(requests.map(({ method }) => method)).toEqual([
      'BITS_POST',
      'GET',
      'BITS_POST',
      'BIND',
      'POST',
      'BITS_POST',
    ])
  })

  const expecting = HEAD.replace('Host', 'Expect: 100-continue\r\nHost')
  it.each([
    { how: 'Node sends 100', event: undefined, first: 100 },
    { how: 'the application sends 100', event: 'checkContinue', first: 100 },
    { how: 'the application sends 413', event: 'checkContinue', first: 413 },
  ])('supports Expect: 100-continue when $how', async ({ event, first }) => {
    const { requests, listener } = recorder()
    const server = http.createServer(listener)
    const methods: (string | undefined)[] = []
    if (event) {
      server.on(event, (req, res) => {
        methods.push(req.method)
        if (first === 100) res.writeContinue()
        else res.writeHead(first, { 'Content-Length': 0 })
        if (first === 100) listener(req, res)
        else res.end()
      })
    }
    const host = await Host.start(plain, server)
    const connection = await host.dial()
    // Node closes the connection when the application rejects the announced body.
    const times = first === 100 ? 3 : 1
    for (let i = 0; i < times; i++) {
      await connection.send(expecting)
      expect(await connection.reply()).toMatchObject({ status: first })
      await connection.send('hello')
      if (first === 100) expect(await connection.recordedRequest()).toMatchObject(SEEN)
    }
    expect(requests).toHaveLength(first === 100 ? 3 : 0)
    expect(methods).toEqual(event ? Array(times).fill('BITS_POST') : [])
  })

  it("is req.method in 'checkExpectation' for another Expect header", async () => {
    const server = http.createServer()
    server.on('checkExpectation', (req, res) => res.writeHead(417, { 'Content-Length': 9 }).end(req.method))
    const connection = await (await Host.start(plain, server)).dial()
    await connection.send('BITS_POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n')
    expect(await connection.reply()).toEqual({ status: 417, body: 'BITS_POST' })
  })

  it("is req.method in 'dropRequest' above maxRequestsPerSocket", async () => {
    const { listener } = recorder()
    const server = http.createServer({}, listener)
    server.maxRequestsPerSocket = 1
    const dropped: (string | undefined)[] = []
    server.on('dropRequest', (req) => dropped.push(req.method))
    const connection = await (await Host.start(plain, server)).dial()
    // Sent before the first answer, with its 'Connection: close', is written.
    await connection.send(HEAD, 'hello', HEAD, 'hello')
    expect(await connection.recordedRequest()).toMatchObject(SEEN)
    await connection.reply()
    expect(dropped.filter((method) => method !== 'BITS_POST')).toEqual([])
  })

  it('is read once after repeated acceptBitsPost and acceptBitsPostEverywhere calls', async () => {
    acceptBitsPostEverywhere()
    for (const transport of transports) {
      const once = await Host.start(transport, recorder().listener)
      const twice = await Host.start(transport, recorder().listener)
      acceptBitsPost(twice.server as Server)
      acceptBitsPost(twice.server as Server)
      acceptBitsPostEverywhere()
      const connections = [await once.dial(), await twice.dial()] as const
      for (const connection of connections) {
        await connection.send(HEAD, 'hello')
        expect(await connection.recordedRequest()).toMatchObject(SEEN)
      }
      const [one, two] = connections.map(({ peer }) => peer.listenerCount('data'))
      expect(two).toBe(one)
      // A second translator on the connection would not know the first packet.
      await connections[1].send('RE', HEAD)
      expect(await connections[1].reply()).toMatchObject({ status: 400 })
    }
  })
})

const lookAlikes = [
  ...['B', 'BI', 'BIT', 'BITS', 'BITS_', 'BITS_P', 'BITS_PO', 'BITS_POS'],
  ...[
    'BITS_POSTX',
    'BITS_POST_',
    'BITS_POST\t',
    'BITS_POST\u0000',
    'BITS_POST/x',
    'BITS_POST?',
    'BITS_PUT',
    'BITS_GET',
  ],
  ...[
    'bits_post',
    'Bits_Post',
    'bITS_POST',
    'BITS_POSt',
    'BITS-POST',
    'BITSPOST',
    'BITS_BITS_POST',
    'XBITS_POST',
  ],
  ...[
    'BBITS_POST',
    ' BITS_POST',
    'BITD',
    'BITND',
    'BITSND',
    'BITX',
    'BIS',
    'BIN',
    'BINS',
    'BINS_POST',
    'BIND_POST',
  ],
  ...['BINDS', 'BITSD', 'BIT\r\nD', 'BITS\r\n', 'BITS _POST', 'BITS\r\n_POST', 'BIT\rS_POST'],
]

describe('Method similar to BITS_POST', () => {
  it.each([
    { how: 'in one segment', cut: (text: string) => [text] },
    { how: 'one byte at a time', cut: (text: string) => [...text] },
  ])("gets Node's 400 answer when sent $how", async ({ cut }) => {
    const { requests, listener } = recorder()
    const host = await Host.start(plain, listener)
    for (const token of lookAlikes) {
      const connection = await host.dial()
      await connection.send(...cut(`${token} / HTTP/1.1\r\nHost: x\r\n\r\n`))
      expect(await textUntilClose(connection), JSON.stringify(token)).toBe(BAD_REQUEST)
    }
    expect(requests).toEqual([])
  })

  it("reaches the 'clientError' listener of the application, which sends the answer", async () => {
    const { requests, listener } = recorder()
    const server = http.createServer(listener)
    const codes: string[] = []
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      codes.push(error.code ?? '')
      socket.end('HTTP/1.1 418 Teapot\r\n\r\n')
    })
    const host = await Host.start(plain, server)
    for (const token of lookAlikes) {
      const connection = await host.dial()
      await connection.send(`${token} / HTTP/1.1\r\nHost: x\r\n\r\n`)
      expect(await connection.reply(), JSON.stringify(token)).toMatchObject({ status: 418 })
    }
    expect(codes).toHaveLength(lookAlikes.length)
    expect(codes.filter((code) => !code.startsWith('HPE_'))).toEqual([])
    expect(requests).toEqual([])
  })

  it.each(['BITS', 'BIT', 'BITS_POST', 'BITS_POST '])(
    'gets 400 for %j followed by the end of the stream',
    async (text) => {
      const connection = await (await Host.start(plain, recorder().listener)).dial()
      await connection.send(text)
      connection.socket.end()
      expect(await textUntilClose(connection)).toBe(BAD_REQUEST)
    },
  )

  it('gets 400 after a BITS_POST on the same connection', async () => {
    const { requests, listener } = recorder()
    const host = await Host.start(plain, listener)
    for (const token of lookAlikes) {
      const connection = await host.dial()
      await connection.send(`${HEAD}hello`)
      expect(await connection.recordedRequest()).toMatchObject(SEEN)
      await connection.send(`${token} / HTTP/1.1\r\nHost: x\r\n\r\n`)
      expect(await textUntilClose(connection), JSON.stringify(token)).toBe(BAD_REQUEST)
    }
    expect(requests).toHaveLength(lookAlikes.length)
  })
})

async function textUntilClose(connection: RawConnection): Promise<string> {
  if (!connection.socket.closed) await new Promise((resolve) => connection.socket.once('close', resolve))
  return connection.received
}

/** A supertest parser, because the recorder sends no Content-Type. */
function asJson(res: unknown, done: (error: Error | null, body: unknown) => void): void {
  let text = ''
  const message = res as IncomingMessage
  message.setEncoding('utf8')
  message.on('data', (part: string) => {
    text += part
  })
  message.on('end', () => done(null, JSON.parse(text)))
}

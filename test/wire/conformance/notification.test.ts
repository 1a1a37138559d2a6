import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type OutgoingHttpHeaders, request } from 'node:http'
import { createServer as createTlsServer, request as requestTls } from 'node:https'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  bitsUpload,
  memoryStore,
  type NotificationOptions,
  notifyApplication,
  type Session,
} from '../../../lib/index.ts'
import { UploadProtocol } from '../../../lib/protocol/headers.ts'
import { certificate } from '../../http/bits-post/raw-connection.ts'
import { noise } from '../../support/bytes.ts'
import { type Answer, answerTo } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { listen } from '../../support/server.ts'
import { E_ACCESSDENIED, E_INVALIDARG, expectAck } from '../acks.ts'
import { type Application, application } from '../application.ts'
import { partOf, published, sessionFiles } from '../disk.ts'
import { download, replyUrlOf } from '../reply.ts'
import { all, next, type ServerSetup, session, type Upload } from '../setting.ts'

const file = noise(300)

type Options = Partial<NotificationOptions> & Pick<NotificationOptions, 'mode'>

/** A session on a server that notifies an application. */
function notifyingSession(
  { url }: Pick<Application, 'url'>,
  options: Options,
  setup: ServerSetup = {},
): Promise<Upload> {
  return session({ ...setup, onUpload: notifyApplication({ url, ...options }) })
}

const lastFragment = ({ client }: Upload): Promise<Answer> => client.fragment(0, file, file.length)

/** Starts an application that sends answers which no HTTP library would send; returns its URL. */
async function oddApplication(respond: (socket: Socket) => void): Promise<Pick<Application, 'url'>> {
  const server = createServer(respond)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

describe('Server application notification', () => {
  it('95: sends a POST with three BITS headers, Content-Length 0 and no body by reference', async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'reference' })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    expect(app.notifications).toHaveLength(1)
    const [notification] = app.notifications
    expect(notification).toMatchObject({ method: 'POST', target: '/svc/handle' })
    expect(notification?.body).toHaveLength(0)
    // The field names that were captured from IIS.
    const part = partOf(upload.directory, upload.id)
    expect(Object.fromEntries(pairs(notification?.rawHeaders ?? []))).toEqual({
      Accept: '*/*',
      'BITS-Original-Request-URL': upload.client.url.href,
      'BITS-Request-DataFile-Name': part,
      'BITS-Response-DataFile-Name': part.replace(/part$/, 'reply'),
      'User-Agent': 'BITSExts 1.5',
      'Content-Length': '0',
      Connection: 'Keep-Alive',
      Host: new URL(app.url).host,
    })
  })

  it('95: names a file with the upload and a file into which the application writes its reply', async () => {
    let seen: Buffer | undefined
    const app = await application(async (response, { headers }) => {
      seen = await readFile(String(headers['bits-request-datafile-name']))
      expect(existsSync(String(headers['bits-response-datafile-name']))).toBe(false)
      await writeFile(String(headers['bits-response-datafile-name']), 'the reply')
      response.end()
    })
    const upload = await notifyingSession(app, { mode: 'reference' })
    const ack = await lastFragment(upload)
    expect(seen).toEqual(file)
    expect((await download(replyUrlOf(ack, upload.client))).body.toString()).toBe('the reply')
    // The reply is not published, and no session files remain.
    expectAck(await upload.client.close(), 200)
    expect(await sessionFiles(upload.directory)).toEqual([])
  })

  it('95: sends paths with non-ASCII characters as UTF-8 bytes', async () => {
    const seen: string[] = []
    const app = await application(async (response, { headers }) => {
      const path = Buffer.from(String(headers['bits-request-datafile-name']), 'latin1').toString()
      seen.push(path, await readFile(path, 'latin1'))
      response.end()
    })
    const directory = join(await temporaryDirectory(), 'ü 日本')
    const upload = await notifyingSession(app, { mode: 'reference' }, { directory })
    expectAck(await lastFragment(upload), 200)
    expect(seen).toEqual([partOf(directory, upload.id), file.toString('latin1')])
  })

  it('95: discards the reply file of a failed attempt before the next attempt', async () => {
    const app = await application(async (response, { headers }) => {
      if (app.notifications.length > 1) return void response.end()
      await writeFile(String(headers['bits-response-datafile-name']), 'half a re')
      response.writeHead(503).end()
    })
    const upload = await notifyingSession(app, { mode: 'reference' })
    expect((await lastFragment(upload)).status).toBe(503)
    const ack = await lastFragment(upload)
    expect((await download(replyUrlOf(ack, upload.client))).body.toString()).toBe('')
  })

  it('95: returns 500 with context 0x7 by reference when the store has no files', async () => {
    const app = await application()
    const setup = { store: memoryStore() }
    const upload = await notifyingSession(app, { mode: 'reference' }, setup)
    const failed = all(upload.upload, 'failed')
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    expect(failed[0]?.error.message).toContain("use mode: 'value'")
    expect(app.notifications).toHaveLength(0)
  })

  it('96: sends a POST with only BITS-Original-Request-URL and the file as body by value', async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'value' })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    const [notification] = app.notifications
    expect(notification).toMatchObject({ method: 'POST', target: '/svc/handle', body: file })
    expect(Object.fromEntries(pairs(notification?.rawHeaders ?? []))).toEqual({
      Accept: '*/*',
      'BITS-Original-Request-URL': upload.client.url.href,
      'User-Agent': 'BITSExts 1.5',
      'Content-Length': '300',
      Connection: 'Keep-Alive',
      Host: new URL(app.url).host,
    })
  })

  it('96: sends a file of 8 MiB by value', async () => {
    const big = noise(8 * 1024 * 1024)
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'value' })
    expectAck(await upload.client.fragment(0, big, big.length), 200, { received: big.length })
    expect(app.notifications[0]?.body.equals(big)).toBe(true)
  })

  it('97: sends no BITS-Reply-URL without onUpload', async () => {
    const ack = await lastFragment(await session())
    expectAck(ack, 200, { received: 300 })
    expect(ack.headers['bits-reply-url']).toBeUndefined()
  })

  it.each([
    ['?A=1', '', '/svc/handle?A=1'],
    ['?A=1&B=%20', '?C=3', '/svc/handle?C=3&A=1&B=%20'],
    ['', '?C=3', '/svc/handle?C=3'],
  ])('98: adds the query %j of the upload to the query %j of the application', async (query, own, target) => {
    const app = await application()
    const upload = await notifyingSession({ url: app.url + own }, { mode: 'value' })
    // The URL of Create-Session counts.
    upload.client.url.search = query
    await upload.client.create()
    expectAck(await lastFragment(upload), 200)
    expect(app.notifications[0]?.target).toBe(target)
    expect(app.notifications[0]?.headers['bits-original-request-url']).toBe(upload.client.url.href)
  })

  it('98: resolves a relative URL against the folder of the upload, on this server', async () => {
    const requests: string[] = []
    const setup: ServerSetup = {
      before: [
        (request, response, next) => {
          if (request.method !== 'POST') return next()
          requests.push(`${request.headers.host} ${request.originalUrl}`)
          request.resume()
          response.end('a reply')
        },
      ],
    }
    const upload = await notifyingSession({ url: 'handle.asp?x=1' }, { mode: 'value' }, setup)
    const ack = await lastFragment(upload)
    expect(requests).toEqual([`${upload.url.host} /upload/handle.asp?x=1`])
    expect((await download(replyUrlOf(ack, upload.client))).body.toString()).toBe('a reply')
  })

  it('98: requests a relative URL from this server, not from the host in the Host header', async () => {
    const otherApplication = await application()
    const { host } = new URL(otherApplication.url)
    const requests: string[] = []
    const setup: ServerSetup = {
      before: [
        (request, response, next) => {
          if (request.method !== 'POST') return next()
          requests.push(String(request.headers.host))
          request.resume()
          response.end()
        },
      ],
    }
    const upload = await notifyingSession({ url: '/upload/handle' }, { mode: 'value' }, setup)
    await upload.client.create({ Host: host })
    expectAck(await lastFragment(upload), 200)
    expect(requests).toEqual([host])
    expect(otherApplication.notifications).toEqual([])
  })

  it.each([
    'x/upload/elsewhere/',
    'x/upload/elsewhere?y=',
    'x\\upload\\elsewhere\\',
    'x#',
    'user@x',
    'a b',
    '[zz',
    'x:99999',
  ])('98: requests a relative URL with Host: localhost for the invalid host %j', async (host) => {
    const requests: string[] = []
    const setup: ServerSetup = {
      before: [
        (request, response, next) => {
          if (request.method !== 'POST') return next()
          requests.push(`${request.headers.host} ${request.url}`)
          request.resume()
          response.end()
        },
      ],
    }
    const upload = await notifyingSession({ url: 'handle' }, { mode: 'value' }, setup)
    await upload.client.create({ Host: host })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    expect(requests).toEqual(['localhost /handle'])
  })

  it.each([
    ['http://farm.example:81/upload/a.bin?A=1', 'http://farm.example:81/upload/a.bin?A=1', '?A=1'],
    ['HTTP://x:99999/upload/a.bin', 'http://localhost/upload/a.bin', ''],
    ['/upload/a.bin?A=1#B', 'http://own.example/upload/a.bin?A=1#B', '?A=1'],
  ])(
    '98: converts the request target %s to BITS-Original-Request-URL %s',
    async (target, original, query) => {
      const app = await application()
      const upload = await notifyingSession(app, { mode: 'value' })
      const { hostname, port } = upload.url
      const outgoing = request({
        ...{ hostname, port, method: 'BITS_POST', path: target, agent: false },
        headers: {
          'BITS-Packet-Type': 'Create-Session',
          'BITS-Supported-Protocols': UploadProtocol,
          'Content-Length': 0,
          Host: 'own.example',
        },
      })
      const created = answerTo(outgoing)
      outgoing.end()
      upload.client.sessionId = String((await created).headers['bits-session-id'])
      expectAck(await lastFragment(upload), 200, { received: 300 })
      expect(app.notifications[0]?.headers['bits-original-request-url']).toBe(original)
      expect(app.notifications[0]?.target).toBe(`/svc/handle${query}`)
    },
  )

  it('98: requests a relative URL over TLS without verifying the certificate of this server', async () => {
    const requests: string[] = []
    const onUpload = notifyApplication({ url: 'handle', mode: 'value' })
    const receive = bitsUpload({ store: memoryStore(), onUpload })
    const server = createTlsServer(certificate, (request, response) =>
      receive(request, response, () => {
        requests.push(`${request.method} ${request.headers.host} ${request.url}`)
        request.resume()
        response.end()
      }),
    )
    const { port } = await listen(server)
    const send = (
      type: string,
      headers: OutgoingHttpHeaders,
      body: Uint8Array = file.subarray(0, 0),
    ): Promise<Answer> => {
      const outgoing = requestTls({
        ...{ port, host: '127.0.0.1', path: '/a.bin', method: 'BITS_POST', rejectUnauthorized: false },
        headers: { 'BITS-Packet-Type': type, 'Content-Length': body.length, ...headers },
      })
      const answer = answerTo(outgoing)
      outgoing.end(body)
      return answer
    }
    const names: unknown[] = []
    server.on('secureConnection', ({ servername }) => names.push(servername))
    const created = await send('Create-Session', {
      'BITS-Supported-Protocols': UploadProtocol,
      Host: 'farm.example',
    })
    const sessionId = String(created.headers['bits-session-id'])
    const last = { 'BITS-Session-Id': sessionId, 'Content-Range': 'bytes 0-299/300' }
    expectAck(await send('Fragment', last, file), 200, { received: 300 })
    expect(requests).toEqual(['POST farm.example /handle'])
    expect(names).toEqual(['farm.example', false, 'farm.example'])
  })

  it('98: returns 500 with context 0x7 for a relative URL on a Unix domain socket', async () => {
    const onUpload = notifyApplication({ url: 'handle', mode: 'value' })
    const receive = bitsUpload({ store: memoryStore(), onUpload })
    const failed = all(receive, 'failed')
    const server = createHttpServer((request, response) => receive(request, response, () => response.end()))
    const socketPath = join(await temporaryDirectory(), 'socket')
    await new Promise<void>((resolve) => server.listen(socketPath, resolve))
    onTestFinished(() => void server.close())
    const send = (type: string, headers: OutgoingHttpHeaders, body?: Uint8Array): Promise<Answer> => {
      const length = { 'Content-Length': body?.length ?? 0 }
      const outgoing = request({
        ...{ socketPath, path: '/a.bin', method: 'BITS_POST', agent: false },
        headers: { 'BITS-Packet-Type': type, ...length, ...headers },
      })
      const answer = answerTo(outgoing)
      outgoing.end(body)
      return answer
    }
    const created = await send('Create-Session', { 'BITS-Supported-Protocols': UploadProtocol })
    const sessionId = String(created.headers['bits-session-id'])
    const last = { 'BITS-Session-Id': sessionId, 'Content-Range': 'bytes 0-299/300' }
    expectAck(await send('Fragment', last, file), 500, { error: '0x801901F4', context: '0x7' })
    expect(String(failed[0]?.error.cause)).toContain('use an absolute URL')
  })

  it("98: emits 'failed' for a relative URL after the client disconnected", async () => {
    const notify = notifyApplication({ url: 'handle', mode: 'value' })
    const upload = await session({
      onUpload: async (complete, caller) => {
        caller.socket.destroy()
        await once(caller.socket, 'close')
        return notify(complete, caller)
      },
    })
    const failed = next(upload.upload, 'failed')
    await expect(lastFragment(upload)).rejects.toThrow()
    expect(String((await failed).error.cause)).toContain('the client has disconnected')
  })

  it('99: copies BITS-Static-Response-URL unchanged to BITS-Reply-URL', async () => {
    const url = 'http://Replies.Example:80/a/../%7Eready?x={1}'
    const app = await application((response) => {
      response.setHeader('BITS-Static-Response-URL', url).end('not this')
    })
    for (const mode of ['reference', 'value'] as const) {
      const upload = await notifyingSession(app, { mode })
      const acks = [await lastFragment(upload), await lastFragment(upload)]
      expect(acks.map(({ headers }) => headers['bits-reply-url'])).toEqual([url, url])
      expect(await sessionFiles(upload.directory)).toEqual([`${upload.id}.json`, `${upload.id}.part`])
      expectAck(await upload.client.close(), 200)
    }
  })

  it('99: ignores an empty BITS-Static-Response-URL', async () => {
    const app = await application((response) => {
      response.setHeader('BITS-Static-Response-URL', '').end('a reply')
    })
    const upload = await notifyingSession(app, { mode: 'value' })
    const url = replyUrlOf(await lastFragment(upload), upload.client)
    expect((await download(url)).body.toString()).toBe('a reply')
  })

  it('99: leaves the static reply of the application available after Close-Session', async () => {
    const app = await application((response) => {
      response.setHeader('BITS-Static-Response-URL', app.url).end('still here')
    })
    const upload = await notifyingSession(app, { mode: 'value' })
    const url = replyUrlOf(await lastFragment(upload), upload.client)
    await upload.client.close()
    expect((await download(url)).body.toString()).toBe('still here')
  })

  it.each(['1', ''])('100: publishes the file for BITS-Copy-File-To-Destination: %j', async (value) => {
    const app = await application((response) => {
      response.setHeader('BITS-Copy-File-To-Destination', value).end()
    })
    const upload = await notifyingSession(app, { mode: 'reference' })
    expectAck(await lastFragment(upload), 200)
    expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(file)
  })

  it('100: publishes nothing and leaves no session files without BITS-Copy-File-To-Destination', async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'reference' })
    const uploaded = all(upload.upload, 'uploaded')
    expectAck(await lastFragment(upload), 200)
    expect(await published(upload.directory)).toEqual([])
    expectAck(await upload.client.close(), 200)
    expect(await published(upload.directory)).toEqual([])
    expect(await sessionFiles(upload.directory)).toEqual([])
    expect(uploaded).toEqual([])
  })

  it("100: publishes nothing without BITS-Copy-File-To-Destination and with commitOn: 'close'", async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'value' }, { commitOn: 'close' })
    expectAck(await lastFragment(upload), 200)
    expectAck(await upload.client.close(), 200)
    expect(await published(upload.directory)).toEqual([])
  })

  it('100: returns 200 after an application notified by reference moved the file', async () => {
    const app = await application(async (response, { headers }) => {
      const { rename } = await import('node:fs/promises')
      await rename(String(headers['bits-request-datafile-name']), join(upload.directory, 'taken'))
      response.end()
    })
    const upload: Upload = await notifyingSession(app, { mode: 'reference' })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    expectAck(await upload.client.close(), 200)
    expect(await readFile(join(upload.directory, 'taken'))).toEqual(file)
    expect(app.notifications).toHaveLength(1)
  })

  it.each(['reference', 'value'] as const)(
    '101: uses the body of the response as the reply, by %s',
    async (mode) => {
      const reply = noise(100_000, 2)
      const app = await application((response) => void response.end(reply))
      const upload = await notifyingSession(app, { mode })
      const url = replyUrlOf(await lastFragment(upload), upload.client)
      expect((await download(url)).body.equals(reply)).toBe(true)
    },
  )

  it.each([
    ['reference', 200],
    ['value', 200],
    ['value', 204],
  ] as const)(
    '101: creates an empty reply from an empty response, by %s, with status %i',
    async (mode, status) => {
      const app = await application((response) => void response.writeHead(status).end())
      const upload = await notifyingSession(app, { mode })
      const answer = await download(replyUrlOf(await lastFragment(upload), upload.client))
      expect([answer.status, answer.headers['content-length']]).toEqual([200, '0'])
    },
  )

  it('102: returns 500 with context 0x7 after a 500, and notifies again on retry', async () => {
    const app = await application((response) => {
      response.writeHead(app.notifications.length === 1 ? 500 : 200).end('sorry')
    })
    const upload = await notifyingSession(app, { mode: 'value' })
    const failed = all(upload.upload, 'failed')
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    expectAck(await lastFragment(upload), 200, { received: 300 })
    expect(app.notifications).toHaveLength(2)
    expect(failed.map(({ error }) => error.message)).toEqual(['The application answered 500'])
  })

  it.each([
    [400, 400, '0x80190190'],
    [404, 404, '0x80190194'],
    [408, 408, '0x80190198'],
    [409, 409, '0x80190199'],
    [501, 501, '0x801901F5'],
    [503, 503, '0x801901F7'],
    [599, 599, '0x80190257'],
    [600, 500, '0x80190258'],
    // Statuses with another meaning for the client (416 even success) become a fatal 400.
    [401, 400, '0x80190191'],
    [407, 400, '0x80190197'],
    [413, 400, '0x8019019D'],
    [416, 400, '0x801901A0'],
    // Fatal and temporary redirects; a BITS_POST is never redirected.
    [300, 400, '0x8019012C'],
    [301, 400, '0x8019012D'],
    [302, 400, '0x8019012E'],
    [303, 400, '0x8019012F'],
    [304, 400, '0x80190130'],
    [305, 400, '0x80190131'],
    [307, 400, '0x80190133'],
    [308, 500, '0x80190134'],
  ])('102: maps the application status %i to %i %s', async (appStatus, status, error) => {
    const app = await application(
      (response) => void response.writeHead(appStatus, { Location: '/' }).end('no'),
    )
    const upload = await notifyingSession(app, { mode: 'value' })
    expectAck(await lastFragment(upload), status, { error, context: '0x7', received: 300 })
    expect(await published(upload.directory)).toEqual([])
    await lastFragment(upload)
    expect(app.notifications).toHaveLength(2)
  })

  it.each(['BITS-Error-Code', 'BITS-Error'])(
    '102: passes on the HRESULT in %s of the response',
    async (name) => {
      const app = await application((response) => void response.writeHead(500, { [name]: 'xA0000001' }).end())
      const upload = await notifyingSession(app, { mode: 'value' })
      expectAck(await lastFragment(upload), 500, { error: '0xA0000001', context: '0x7', received: 300 })
    },
  )

  it('102: ignores a success HRESULT in BITS-Error of the response', async () => {
    const app = await application((response) => {
      response.writeHead(503, { 'BITS-Error': '0x00000001' }).end()
    })
    const upload = await notifyingSession(app, { mode: 'value' })
    expectAck(await lastFragment(upload), 503, { error: '0x801901F7', context: '0x7', received: 300 })
  })

  it('102: returns 500 with context 0x7 when the connection is refused', async () => {
    const closed = createServer()
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
    const { port } = closed.address() as { port: number }
    await new Promise((resolve) => closed.close(resolve))
    const upload = await notifyingSession({ url: `http://127.0.0.1:${port}/` }, { mode: 'value' })
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
  })

  it('102: returns 500 with context 0x7 for a truncated, malformed or missing response', async () => {
    for (const text of ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'Good morning\r\n\r\n', '']) {
      const odd = await oddApplication((socket) => socket.once('data', () => socket.end(text)))
      const upload = await notifyingSession(odd, { mode: 'value' })
      expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    }
  })

  it.each(['reference', 'value'] as const)(
    '102: returns 500 with context 0x7 for an unrequested upgrade, by %s',
    async (mode) => {
      const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'
      const app = await oddApplication((socket) => socket.once('data', () => socket.write(switching)))
      const upload = await notifyingSession(app, { mode })
      expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    },
  )

  it('102: stops sending the file when the application answers before it has read all', async () => {
    const app = await oddApplication((socket) => {
      socket.once('data', () => {
        socket.pause()
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreply')
      })
    })
    const big = noise(16 * 1024 * 1024)
    const store = memoryStore()
    const read: Readable[] = []
    const reading = { ...store, read: (upload: Session) => (read[read.length] = store.read(upload)) }
    const upload = await notifyingSession(app, { mode: 'value' }, { store: reading })
    const ack = await upload.client.fragment(0, big, big.length)
    expect((await download(replyUrlOf(ack, upload.client))).body.toString()).toBe('reply')
    expect(read.map(({ destroyed }) => destroyed)).toEqual([true])
  })

  it('103: returns 403 for a 403 with an incomplete body', async () => {
    const half = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf'
    for (const end of [(socket: Socket) => socket.end(half), (socket: Socket) => socket.write(half)]) {
      const app = await oddApplication((socket) => socket.once('data', () => end(socket)))
      const upload = await notifyingSession(app, { mode: 'value', timeout: 50 })
      expectAck(await lastFragment(upload), 403, { error: E_ACCESSDENIED, context: '0x7', received: 300 })
    }
  })

  it('103: returns 403 again after a 403, without another notification', async () => {
    const app = await application((response) => void response.writeHead(403).end())
    const upload = await notifyingSession(app, { mode: 'value' })
    for (let i = 0; i < 3; i += 1) {
      const refused = { error: E_ACCESSDENIED, context: '0x7', received: 300 } as const
      expectAck(await lastFragment(upload), 403, refused)
    }
    expect(app.notifications).toHaveLength(1)
    // The bytes of the upload were deleted.
    expect(await sessionFiles(upload.directory)).toEqual([`${upload.id}.json`])
    expectAck(await upload.client.cancel(), 200)
    expect(await sessionFiles(upload.directory)).toEqual([])
  })

  it.each(['head', 'body'])(
    '104: returns 408 with context 0x7 when no response %s arrives in time',
    async (missing) => {
      const app = await application((response) => {
        if (missing === 'body') response.writeHead(200, { 'Content-Length': 10 }).write('half')
      })
      const upload = await notifyingSession(app, { mode: 'value', timeout: 50 })
      const failed = all(upload.upload, 'failed')
      expectAck(await lastFragment(upload), 408, { error: '0x800705B4', context: '0x7', received: 300 })
      expect(failed.map(({ error }) => error.code)).toEqual(['application-timeout'])
      expect(await published(upload.directory)).toEqual([])
    },
  )

  it('104: returns 408 with context 0x7 when the application does not read the file', async () => {
    const silent = await oddApplication((socket) => socket.pause())
    const big = noise(16 * 1024 * 1024)
    const upload = await notifyingSession(silent, { mode: 'value', timeout: 100 })
    const ack = await upload.client.fragment(0, big, big.length)
    expectAck(ack, 408, { error: '0x800705B4', context: '0x7', received: big.length })
  })

  it.each([
    ['of more than 2200 characters', `http://replies.example/${'x'.repeat(2200)}`],
    ['that is relative', '/ready'],
    ['with the scheme ftp:', 'ftp://replies.example/ready'],
  ])('105: returns 400 for a reply URL %s', async (_, url) => {
    const app = await application((response) => {
      response.setHeader('BITS-Static-Response-URL', url).end()
    })
    const upload = await notifyingSession(app, { mode: 'value' })
    expectAck(await lastFragment(upload), 400, { error: E_INVALIDARG, received: 300 })
  })

  it('105: passes on a reply URL of 2200 characters', async () => {
    const url = 'http://replies.example/'.padEnd(2200, 'x')
    const app = await application((response) => {
      response.setHeader('BITS-Static-Response-URL', url).end()
    })
    const ack = await lastFragment(await notifyingSession(app, { mode: 'value' }))
    expect(ack.headers['bits-reply-url']).toBe(url)
  })

  it('106: accepts a response without Content-Length and with Connection: close', async () => {
    // The answer of the captured application.
    const answer = 'HTTP/1.1 200 OK\r\nServer: Microsoft-IIS/6.0\r\nConnection: close\r\n\r\nthe reply'
    const captured = await oddApplication((socket) => socket.once('data', () => socket.end(answer)))
    const upload = await notifyingSession(captured, { mode: 'value' })
    const ack = await lastFragment(upload)
    expectAck(ack, 200, { received: 300 })
    expect((await download(replyUrlOf(ack, upload.client))).body.toString()).toBe('the reply')
  })

  it('notifies the application once when the last fragment is repeated', async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'value' })
    const acks = [await lastFragment(upload), await lastFragment(upload), await lastFragment(upload)]
    expect(new Set(acks.map(({ headers }) => headers['bits-reply-url'])).size).toBe(1)
    expect(app.notifications).toHaveLength(1)
  })

  it('sends Basic credentials with the name and password in the URL', async () => {
    const app = await application()
    const url = app.url.replace('http://', 'http://a%40b:c%3Ad@')
    expectAck(await lastFragment(await notifyingSession({ url }, { mode: 'value' })), 200)
    const credentials = Buffer.from('a@b:c:d').toString('base64')
    expect(app.notifications[0]?.headers.authorization).toBe(`Basic ${credentials}`)
  })

  it.each<[string, unknown, RegExp]>([
    ['no options', undefined, /pass options, at least \{ url, mode \}/],
    ['a timeout that is a string', { url: '/', mode: 'value', timeout: '5000' }, /'timeout' takes a number/],
    ['a timeout of NaN', { url: '/', mode: 'value', timeout: Number.NaN }, /'timeout' takes a number/],
    ['a timeout of 2 ** 31', { url: '/', mode: 'value', timeout: 2 ** 31 }, /'timeout' takes a number/],
    ['a timeout of 0', { url: '/', mode: 'value', timeout: 0 }, /'timeout' takes a number/],
    ['no url', { mode: 'value' }, /'url' takes a URL/],
    ['an empty url', { url: '', mode: 'value' }, /'url' takes a URL/],
    ['a url with the scheme ftp:', { url: 'ftp://x/', mode: 'value' }, /'url' takes a URL/],
    ['a protocol-relative url', { url: '//x/', mode: 'value' }, /'url' takes a URL/],
    ['a protocol-relative url with backslashes', { url: '\\\\x\\', mode: 'value' }, /'url' takes a URL/],
    [
      'a url of 2201 characters',
      { url: 'http://x/'.padEnd(2201, 'y'), mode: 'value' },
      /'url' takes at most 2200/,
    ],
    ['no mode', { url: '/' }, /'mode' takes 'reference' or 'value'/],
    ['a misspelt option', { url: '/', mode: 'value', timout: 1 }, /did you mean 'timeout'/],
  ])('throws a TypeError for %s', (_, options, message) => {
    const notify = () => notifyApplication(options as NotificationOptions)
    expect(notify).toThrow(TypeError)
    expect(notify).toThrow(message)
  })

  it('accepts a url of 2200 characters', () => {
    expect(notifyApplication({ url: 'http://x/'.padEnd(2200, 'y'), mode: 'value' })).toBeTypeOf('function')
  })

  it('uses a new connection for each notification', async () => {
    let connections = 0
    const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    const app = await oddApplication((socket) => {
      connections += 1
      socket.on('data', () => socket.write(answer))
    })
    for (let i = 0; i < 2; i += 1)
      expectAck(await lastFragment(await notifyingSession(app, { mode: 'reference' })), 200)
    expect(connections).toBe(2)
  })

  it('sends BITS-Original-Request-URL with the host of Create-Session, not of the fragments', async () => {
    const app = await application()
    const upload = await notifyingSession(app, { mode: 'value' })
    await upload.client.create({ Host: 'farm.example' })
    await upload.client.fragment(0, file, 300, { headers: { Host: 'node3.example' } })
    expect(app.notifications[0]?.headers['bits-original-request-url']).toBe(
      'http://farm.example/upload/a.bin',
    )
  })
})

function pairs(rawHeaders: readonly string[]): [string, string][] {
  return rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? '']] : []))
}

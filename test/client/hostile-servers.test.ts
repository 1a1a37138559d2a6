/** Servers that try to keep the client for ever. Every upload must end within its limits, with a code. */

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  UploadError,
  type UploadErrorCode,
  type UploadOptions,
  type UploadSource,
  uploadFile,
} from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'

interface Request {
  readonly socket: Socket
  /** The packet type; `GET` for a request for the reply; `connect` for a new connection. */
  readonly type: string
  /** Number of earlier requests of this type. */
  readonly index: number
  /** The offset after the last byte of a fragment. */
  readonly end: number
}

/** Answers a request; returns false if a well-behaved server should answer it. */
type Behaviour = (request: Request) => unknown

const file = noise(20_480)
const options: UploadOptions = {
  maxFragmentSize: 5120,
  maxReplySize: 100_000,
  retryDelay: 1,
  maxRetryDelay: 4,
}
/** Limits of the uploads that wait for them, and of the others. */
const shortLimits: UploadOptions = { sendTimeout: 150, responseTimeout: 150, noProgressTimeout: 300 }
const longLimits: UploadOptions = { sendTimeout: 1000, responseTimeout: 1000, noProgressTimeout: 1500 }
/** Milliseconds for the longest sequence of limits, on a machine that is busy. */
const LimitMs = 4_000
/** Milliseconds from part to part: many times less than any time limit. */
const DripMs = 25

const Ack = 'HTTP/1.1 200 OK\r\nBITS-Packet-Type: Ack\r\n'
const Empty = 'Content-Length: 0\r\n\r\n'
const answer = (status: number, fields = '', body = ''): string =>
  `HTTP/1.1 ${status} Said\r\nBITS-Packet-Type: Ack\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`
const received = (offset: number | string, status = 200): string =>
  answer(status, `BITS-Received-Content-Range: ${offset}\r\n`)
const sessionId = (index: number): string => `{A0FF5911-4144-45B3-BF27-${String(index).padStart(12, '0')}}`

/** What a well-behaved server answers, with a Host-Id, so that there are Pings, and a reply. */
function goodAnswer({ type, index, end }: Request): string {
  if (type === 'Create-Session') {
    return answer(
      200,
      `BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}\r\nBITS-Session-Id: ${sessionId(index)}\r\n` +
        'BITS-Host-Id: 127.0.0.1\r\n',
    )
  }
  if (type === 'Fragment')
    return answer(200, `BITS-Received-Content-Range: ${end}\r\nBITS-Reply-URL: /reply\r\n`)
  return type === 'GET'
    ? answer(200, 'Last-Modified: Mon, 18 Jun 2007 20:42:57 GMT\r\n', 'reply')
    : answer(200)
}

const at =
  (type: string, behave: (request: Request) => void): Behaviour =>
  (request) =>
    request.type === type ? behave(request) : false
const says = (type: string, text: string | ((request: Request) => string)): Behaviour =>
  at(type, (request) => void request.socket.write(typeof text === 'string' ? text : text(request)))

/** Sends a text at once, and then a few bytes again and again. */
function drip(socket: Socket, text: string, part: string): void {
  socket.write(text)
  const timer = setInterval(() => socket.write(part), DripMs)
  socket.on('close', () => clearInterval(timer))
}
const drips = (type: string, text: string, part: string): Behaviour =>
  at(type, ({ socket }) => drip(socket, text, part))

/** Sends a text, and then a part without end as fast as the client reads. */
const floods = (type: string, text: string, part: string): Behaviour =>
  at(type, ({ socket }) => {
    const chunk = part.repeat(Math.ceil(16_384 / part.length))
    const more = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', more).write(text)
    more()
  })

const packetTypes = ['Create-Session', 'Ping', 'Fragment', 'GET', 'Close-Session'] as const
const closed: Behaviour = ({ type, socket }) => (type === 'connect' ? false : void socket.destroy())
const chunked = 'Transfer-Encoding: chunked\r\n\r\n'
const partOfReply = (first: number, length: number, total: number | string, more = ''): string =>
  `HTTP/1.1 206 Part\r\nContent-Range: bytes ${first}-${first + length - 1}/${total}\r\n${more}` +
  `Content-Length: ${length}\r\n\r\n${'x'.repeat(length)}`

/** The server, and the code with which the upload ends; `sent` if it succeeds. */
const servers: Readonly<Record<string, readonly [Behaviour, UploadErrorCode | 'sent', UploadOptions?]>> = {
  ...Object.fromEntries(
    packetTypes.flatMap((type) =>
      (
        [
          [`${type}: silence`, at(type, () => {})],
          [`${type}: a dripping head`, drips(type, 'HTTP/1.1 200 OK\r\n', 'X-A: b\r\n')],
          [`${type}: a dripping status line`, drips(type, 'HTTP/1.1 200 ', 'O')],
          [`${type}: a dripping body`, drips(type, `${Ack}Content-Length: 9000\r\n\r\n`, 'x')],
          [`${type}: a dripping chunked body`, drips(type, `${Ack}${chunked}`, '1\r\nx\r\n')],
          [`${type}: a dripping body of an error`, drips(type, `HTTP/1.1 500 X\r\n${chunked}`, '1\r\nx\r\n')],
          [`${type}: a dripping chunk size`, drips(type, `${Ack}${chunked}1`, ';a=b')],
        ] as const
      ).map(([name, behave]) => {
        // A reply is read before its end is known.
        const code =
          type === 'GET' && /chunk/.test(name) && !/error/.test(name) ? 'reply-invalid' : 'no-progress'
        return [name, [behave, code] as const]
      }),
    ),
  ),
  'a dripping trailer': [drips('Fragment', `${Ack}${chunked}0\r\n`, 'X-A: b\r\n'), 'no-progress'],
  'a head without end': [floods('Create-Session', 'HTTP/1.1 200 OK\r\n', 'X-A: b\r\n'), 'invalid-answer'],
  'a header field without end': [floods('Fragment', 'HTTP/1.1 200 OK\r\nX-A: ', 'b'), 'invalid-answer'],
  'a chunked body without end': [
    floods('Fragment', `${Ack}${chunked}`, `400\r\n${'x'.repeat(1024)}\r\n`),
    'invalid-answer',
  ],
  'a body that ends with the connection, which never ends': [
    floods('Create-Session', `${Ack}\r\n`, 'x'),
    'invalid-answer',
  ],
  'an error page without end': [
    floods('Close-Session', `HTTP/1.1 503 X\r\n${chunked}`, `400\r\n${'x'.repeat(1024)}\r\n`),
    'no-progress',
  ],
  '100 Continue without end': [floods('Fragment', '', 'HTTP/1.1 100 Continue\r\n\r\n'), 'no-progress'],
  'dripping 102 Processing': [drips('Ping', '', 'HTTP/1.1 102 Processing\r\n\r\n'), 'no-progress'],
  '101 Switching Protocols': [
    says('Create-Session', 'HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    'no-progress',
  ],
  'an answer before the request': [
    ({ type, socket }) => (type === 'connect' ? void socket.write(answer(200)) : undefined),
    'no-progress',
  ],
  'a dripping answer before the request': [
    ({ type, socket }) => (type === 'connect' ? drip(socket, `${Ack}${chunked}`, '1\r\nx\r\n') : undefined),
    'no-progress',
  ],
  'two answers to each request': [
    (request) =>
      request.type === 'connect' ? false : void request.socket.write(goodAnswer(request).repeat(2)),
    'sent',
  ],
  'a banner of another protocol': [
    ({ type, socket }) => (type === 'connect' ? void socket.write('220 ESMTP ready\r\n') : undefined),
    'invalid-answer',
  ],
  'a dripping banner': [
    ({ type, socket }) => (type === 'connect' ? drip(socket, 'SSH-2.0-x', 'y') : undefined),
    'invalid-answer',
  ],
  'connections that close without an answer': [closed, 'no-progress'],
  'connections that close at once': [({ socket }) => void socket.destroy(), 'no-progress'],
  'connections that close within each Ack': [
    at('Fragment', ({ socket }) => void socket.end(received(5120).slice(0, 40))),
    'no-progress',
  ],
  'a server that reads nothing': [({ socket }) => void socket.pause(), 'no-progress'],
  'redirections at Create-Session': [says('Create-Session', answer(302, 'Location: /\r\n')), 'redirected'],
  'redirections at Fragment': [says('Fragment', answer(307, 'Location: /\r\n')), 'redirected'],
  'redirections of the reply': [says('GET', answer(302, 'Location: /reply\r\n')), 'redirected'],
  '306 without end': [says('Fragment', answer(306)), 'no-progress'],
  'Basic challenges without end': [
    says('Create-Session', answer(401, 'WWW-Authenticate: Basic realm="x"\r\n')),
    'unauthorized',
    { auth: { user: 'a', password: 'b' } },
  ],
  'Digest challenges with stale nonces without end': [
    says('Create-Session', ({ index }) =>
      answer(401, `WWW-Authenticate: Digest realm="x", nonce="${index}", qop="auth", stale=true\r\n`),
    ),
    'unauthorized',
    { auth: { user: 'a', password: 'b' } },
  ],
  '401 with a dripping body': [
    drips(
      'Create-Session',
      `HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm="x"\r\n${chunked}`,
      '1\r\nx\r\n',
    ),
    'no-progress',
    { auth: { user: 'a', password: 'b' } },
  ],
  'the same offset again and again': [says('Fragment', received(0)), 'stuck'],
  'the same offset in 416': [says('Fragment', received(5120, 416)), 'stuck'],
  'offsets back and forth': [says('Fragment', ({ index }) => received(index % 2 ? 10 : 5120, 416)), 'stuck'],
  'offsets that decrease': [says('Fragment', ({ index }) => received(Math.max(0, 9000 - index))), 'stuck'],
  'an offset beyond the file': [says('Fragment', received(20_481)), 'invalid-answer'],
  'an offset above 2^53': [says('Fragment', received('9'.repeat(30), 416)), 'invalid-answer'],
  'a 416 without offset': [says('Fragment', answer(416)), 'invalid-answer'],
  'an offset that jumps to the end': [says('Fragment', received(20_480, 416)), 'sent'],
  'Acks without offset': [says('Fragment', answer(200)), 'invalid-answer'],
  'Acks for another session': [
    says('Fragment', answer(200, `BITS-Received-Content-Range: 5120\r\nBITS-Session-Id: {0}\r\n`)),
    'invalid-answer',
  ],
  'sessions that are lost at once': [
    says('Fragment', answer(500, 'BITS-Error: 0x8020001F\r\n')),
    'session-lost',
  ],
  'sessions that are lost at Close-Session': [
    says('Close-Session', answer(500, 'BITS-Error: 0x8020001F\r\n')),
    'session-lost',
  ],
  '413 for each size': [says('Fragment', answer(413)), 'fragment-too-large'],
  '429 for Close-Session without end': [says('Close-Session', answer(429)), 'no-progress'],
  '409 for Create-Session without end': [says('Create-Session', answer(409)), 'no-progress'],
  '503 with Retry-After of a year': [says('Ping', answer(503, 'Retry-After: 31536000\r\n')), 'no-progress'],
  'pages of a captive portal': [
    ({ type, socket }) => (type === 'connect' ? false : void socket.write(`HTTP/1.1 200 OK\r\n${Empty}`)),
    'invalid-answer',
  ],
  'a reply of one byte at a time': [says('GET', ({ index }) => partOfReply(index, 1, 300)), 'sent'],
  'a reply that grows': [says('GET', ({ index }) => partOfReply(index, 1, 9000 + index)), 'reply-changed'],
  'a reply whose Last-Modified moves': [
    says('GET', ({ index }) => partOfReply(0, 1, 9000, `Last-Modified: ${index}\r\n`)),
    'reply-changed',
  ],
  'a reply whose ranges stay at the first byte': [says('GET', partOfReply(0, 1, 9000)), 'reply-changed'],
  'a reply without end': [
    floods('GET', `HTTP/1.1 200 OK\r\n${chunked}`, `400\r\n${'x'.repeat(1024)}\r\n`),
    'reply-invalid',
  ],
  'a reply that breaks after each byte': [
    at('GET', ({ socket }) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nx')),
    'reply-changed',
  ],
}

/** Calls the behaviour for each connection and each request of it. */
function hostileServer(behave: Behaviour): Server {
  const counts = new Map<string, number>()
  return createServer((socket) => {
    const handle = (type: string, end: number): void => {
      const index = counts.get(type) ?? 0
      counts.set(type, index + 1)
      const request = { socket, type, index, end }
      if (behave(request) === false && type !== 'connect') socket.write(goodAnswer(request))
    }
    socket.on('error', () => {})
    handle('connect', 0)
    let unread = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      for (;;) {
        const endOfHead = unread.indexOf('\r\n\r\n')
        if (endOfHead < 0) {
          // The client probes the port for TLS.
          if (unread[0] === 0x16) socket.destroy()
          return
        }
        const head = unread.toString('latin1', 0, endOfHead)
        const number = (pattern: RegExp): number => Number(pattern.exec(head)?.[1] ?? 0)
        const bodyEnd = endOfHead + 4 + number(/^content-length: (\d+)/im)
        if (unread.length < bodyEnd) return
        unread = unread.subarray(bodyEnd)
        const type = /^bits-packet-type: (.*)$/im.exec(head)?.[1] ?? 'GET'
        handle(type, number(/^content-range: bytes \d+-(\d+)/im) + 1)
      }
    })
  })
}

/** More bytes than the buffers of a connection hold. */
const large: UploadSource = {
  size: 13 * 1024 * 1024,
  async *read(start, end) {
    for (let position = start; position < end; position += 65_536)
      yield Buffer.alloc(Math.min(65_536, end - position))
  },
}

interface Outcome {
  readonly code: string
  readonly time: number
}

async function outcomeOf(server: Server, sockets: Set<Socket>, name: string): Promise<Outcome> {
  const [, expected, more] = servers[name] ?? []
  const limits = expected === 'no-progress' ? shortLimits : longLimits
  server.on('connection', (socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.bin`
  const [source, size] = /reads nothing/.test(name) ? [large, '13mb'] : [file, 5120]
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new Error(`no end within ${LimitMs} ms`)), LimitMs)
  const startTime = performance.now()
  const { signal } = controller
  const code = await uploadFile(source, url, {
    ...options,
    ...limits,
    maxFragmentSize: size,
    ...more,
    signal,
  }).then(
    () => 'sent',
    (error) => (error instanceof UploadError ? error.code : String(error)),
  )
  clearTimeout(timer)
  return { code, time: performance.now() - startTime }
}

describe('uploadFile ends with a server that sends', () => {
  const running: Server[] = []
  const sockets = new Set<Socket>()
  const outcomes = new Map<string, Promise<Outcome>>()

  const start = (name: string, behave: Behaviour): Promise<Outcome> => {
    const server = hostileServer(behave)
    running.push(server)
    return outcomeOf(server, sockets, name)
  }
  // At the same time, because they only wait for a timeout.
  beforeAll(() => {
    for (const [name, [behave, code]] of Object.entries(servers)) {
      const isBusy = / without end/.test(name)
      if (code === 'no-progress' && !isBusy) outcomes.set(name, start(name, behave))
    }
  })
  afterAll(() => {
    for (const server of running) server.close()
    for (const socket of sockets) socket.destroy()
  })

  it.each(Object.entries(servers).map(([name, [behave, code]]) => [name, code, behave] as const))(
    '%s (%s)',
    async (name, code, behave) => {
      await Promise.all(outcomes.values())
      const outcome = await (outcomes.get(name) ?? start(name, behave))
      expect(outcome.code).toBe(code)
      expect(outcome.time).toBeLessThan(LimitMs)
    },
  )

  it('nothing for noProgressTimeout, after the first request', async () => {
    let connections = 0
    const server = hostileServer(({ type }) => (type === 'connect' ? void connections++ : undefined))
    running.push(server)
    server.on('connection', (socket) => sockets.add(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.bin`
    // The default of responseTimeout is longer.
    const failure = uploadFile(file, url, { ...options, noProgressTimeout: 200 })
    await expect(failure).rejects.toMatchObject({ code: 'no-progress' })
    expect(connections).toBe(1)
  })
})

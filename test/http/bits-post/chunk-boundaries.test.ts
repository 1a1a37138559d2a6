/**
 * The method translator may change bytes only where a message begins. These tests send bytes that look
 * like the start of a message, but are not.
 */
import http, { type RequestListener } from 'node:http'
import fc from 'fast-check'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { acceptBitsPostEverywhere } from '../../../lib/http/bits-post/accept.ts'
import {
  chunked,
  closeAll,
  everyCut,
  Host,
  plain,
  type RecordedRequest,
  recorder,
  transports,
} from './raw-connection.ts'

beforeAll(acceptBitsPostEverywhere)
afterEach(closeAll)

const TRAP = 'BITS_POST / HTTP/1.1\r\nHost: x\r\n\r\n'

const head = (line: string, ...headers: string[]) =>
  [`${line} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n')
const length = (body: string) => `Content-Length: ${body.length}`
const SIZE = TRAP.length.toString(16)
const CHUNKED = 'Transfer-Encoding: chunked'

/** One message, the packets in which it is sent, and the expected request. */
interface Message {
  readonly is: string
  readonly packets: readonly string[]
  readonly seen: Partial<RecordedRequest>
}

const withLength = (method: string, url: string, ...body: string[]): Message => ({
  is: `${method} with Content-Length`,
  packets: [head(`${method} ${url}`, length(body.join(''))), ...body],
  seen: { method, url, body: body.join('') },
})

const inChunks = (method: string, url: string, ...body: string[]): Message => ({
  is: `${method} with a chunked body`,
  packets: [
    head(`${method} ${url}`, CHUNKED),
    ...body.map((part) => chunked(part).slice(0, -5)),
    '0\r\n\r\n',
  ],
  seen: { method, url, body: body.join('') },
})

const bare = (method: string, url: string): Message => ({
  is: `${method} without a body`,
  packets: [head(`${method} ${url}`)],
  seen: { method, url, body: '' },
})

const BITS = withLength('BITS_POST', '/bits', 'hello')

const messages: readonly Message[] = [
  bare('GET', '/'),
  bare('BIND', '/'),
  bare('BITS_POST', '/'),
  ...['B', 'BI', 'BIN', 'BIND'].map((cut) => ({
    ...bare('BIND', '/'),
    is: `BIND split after ${cut}`,
    packets: [cut, head('BIND /').slice(cut.length)],
  })),
  ...['BITS_POST', 'POST', 'BIND', 'GET'].flatMap((method) => [
    withLength(method, '/', TRAP),
    withLength(method, '/', 'BITS_POST ', 'BITS_POST ', 'BITS_POST '),
    withLength(method, '/', 'x\r\n\r\n', TRAP, TRAP),
    inChunks(method, '/', TRAP),
    inChunks(method, '/', 'x\r\n\r\n', TRAP, 'BITS_POST '),
  ]),
  {
    is: 'POST with a chunk in its own segment',
    packets: [head('POST /', CHUNKED), `${SIZE}\r\n`, TRAP, '\r\n', '0\r\n\r\n'],
    seen: { method: 'POST', url: '/', body: TRAP },
  },
  {
    is: 'POST with chunks that end in CRLF CRLF',
    packets: [head('POST /', CHUNKED), `${SIZE}\r\n`, TRAP, `\r\n${SIZE}\r\n`, TRAP, '\r\n0\r\n\r', '\n'],
    seen: { method: 'POST', url: '/', body: TRAP + TRAP },
  },
  {
    is: 'POST with chunk extension and trailer',
    packets: [head('POST /', CHUNKED), `${SIZE};a=b\r\n${TRAP}\r\n`, '0\r\nTrailer: BITS_POST \r\n', '\r\n'],
    seen: { method: 'POST', url: '/', body: TRAP },
  },
  {
    is: 'GET with BITS_POST in URL and header',
    packets: ['GET /', 'BITS_POST HTTP/1.1\r\nHost: x\r\nNote: ', 'BITS_POST \r\n', '\r\n'],
    seen: { method: 'GET', url: '/BITS_POST', note: 'BITS_POST', body: '' },
  },
  {
    is: 'GET after a blank line',
    packets: ['\r\n', head('GET /')],
    seen: { method: 'GET', url: '/', body: '' },
  },
]

describe.each(transports)('Method translator over $over, on one keep-alive connection', (transport) => {
  it.each(messages)('reads $is between two BITS_POST requests', async ({ packets, seen }) => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    // In its packets, in one packet, and with the last packet separate.
    for (const sent of [packets, [packets.join('')], [packets.slice(0, -1).join(''), packets.at(-1) ?? '']]) {
      await connection.send(...BITS.packets)
      expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
      await connection.send(...sent)
      expect(await connection.recordedRequest()).toMatchObject(seen)
    }
    await connection.send(...BITS.packets)
    expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
  })

  it('reads a POST with a BITS_POST head in its body, split at every byte', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    for (const { packets, seen } of [withLength('POST', '/', TRAP), inChunks('POST', '/', TRAP)]) {
      for (const cut of everyCut(packets.join(''))) {
        await connection.send(...cut)
        expect(await connection.recordedRequest(), JSON.stringify(cut)).toMatchObject(seen)
        await connection.send(...BITS.packets)
        expect(await connection.recordedRequest(), JSON.stringify(cut)).toMatchObject(BITS.seen)
      }
    }
  })

  it('reads a BITS_POST body of 200 segments', async () => {
    const host = await Host.start(transport, recorder().listener)
    const connection = await host.dial()
    const body = Array.from({ length: 200 }, () => TRAP.repeat(20))
    await connection.send(...withLength('BITS_POST', '/', ...body).packets)
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST', body: body.join('') })
    await connection.send(...BITS.packets)
    expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
  })
})

describe('Method translator after a response that precedes the end of the body', () => {
  it.each([
    bare('BITS_POST', '/next'),
    bare('BIND', '/next'),
    bare('GET', '/next'),
    withLength('BITS_POST', '/next', TRAP),
    withLength('POST', '/next', TRAP),
  ])('reads $is that starts in one segment with the last bytes of the body', async ({ packets, seen }) => {
    const { requests, listener } = recorder({ early: true })
    const connection = await (await Host.start(plain, listener)).dial()
    const first = withLength('BITS_POST', '/first', 'BITS_POST ')
    const text = `BITS_POST ${packets.join('')}`
    for (const cut of [[text], ...everyCut(text)]) {
      requests.length = 0
      await connection.send(first.packets[0] ?? '')
      expect(await connection.reply()).toMatchObject({ status: 200 })
      await connection.send(...cut)
      expect(await connection.reply(), JSON.stringify(cut)).toMatchObject({ status: 200 })
      expect(requests, JSON.stringify(cut)).toMatchObject([first.seen, seen])
    }
  })

  it.each([
    bare('BITS_POST', '/next'),
    bare('BIND', '/next'),
    bare('REBIND', '/next'),
    bare('GET', '/next'),
    withLength('BITS_POST', '/next', TRAP),
    inChunks('BITS_POST', '/next', TRAP),
    inChunks('POST', '/next', `x\r\n\r\n${TRAP}`),
  ])('reads $is that starts in one segment with the end of a chunked body', async ({ packets, seen }) => {
    const { requests, listener } = recorder({ early: true })
    const connection = await (await Host.start(plain, listener)).dial()
    const body = `x\r\n\r\n${TRAP}`
    const tails = [
      `${chunked(body).slice(4)}`,
      `${chunked(body).slice(4, -2)}Trailer: BITS_POST \r\n\r\n`,
      `${chunked(body).slice(4)}\r\n`,
    ]
    for (const tail of tails) {
      const text = tail + packets.join('')
      const later = everyCut(text).filter(([, rest]) => rest.length < text.length - body.length)
      for (const cut of [[text], ...later]) {
        requests.length = 0
        await connection.send(`${head('BITS_POST /first', CHUNKED)}${chunked(body).slice(0, 4)}`)
        expect(await connection.reply()).toMatchObject({ status: 200 })
        await connection.send(...cut)
        expect(await connection.reply(), JSON.stringify(cut)).toMatchObject({ status: 200 })
        expect(requests, JSON.stringify(cut)).toMatchObject([
          { method: 'BITS_POST', url: '/first', body },
          seen,
        ])
      }
    }
  })

  it('returns 400 for a method similar to BITS_POST in one segment with a chunked body', async () => {
    const { requests, listener } = recorder({ early: true })
    const host = await Host.start(plain, listener)
    const tokens = [
      'BITS',
      'BITS_POSTX',
      'BITD',
      'BINDX',
      'bits_post',
      'REBITS_POST',
      'UNBITS_POST',
      'XBITS_POST',
    ]
    for (const token of tokens) {
      const rest = `0\r\n\r\n${head(`${token} /`)}`
      for (const cut of [[rest], ...everyCut(rest).slice(0, 12)]) {
        requests.length = 0
        const connection = await host.dial()
        await connection.send(`${head('POST /', CHUNKED)}5\r\nhello\r\n`)
        expect(await connection.reply()).toMatchObject({ status: 200 })
        await connection.send(...cut)
        expect(await connection.reply(), token).toMatchObject({ status: 400 })
        expect(requests).toMatchObject([{ method: 'POST', body: 'hello' }])
      }
    }
  })

  it('returns 400 for a method similar to BITS_POST in one segment with the body', async () => {
    const { requests, listener } = recorder({ early: true })
    const host = await Host.start(plain, listener)
    for (const token of ['BITS', 'BITS_POSTX', 'BITD', 'BIT', 'BINDX', 'bits_post']) {
      requests.length = 0
      const connection = await host.dial()
      await connection.send(head('POST /', 'Content-Length: 5'))
      expect(await connection.reply()).toMatchObject({ status: 200 })
      await connection.send(`hello${head(`${token} /`)}`)
      expect(await connection.reply(), token).toMatchObject({ status: 400 })
      expect(requests).toMatchObject([{ method: 'POST', body: 'hello' }])
    }
  })
})

const DECOY = 'POST /a HTTP/1.1\r\nContent-Length: 44\r\nNote: BITS_POST /b HTTP/1.1\r\nHost: x\r\n\r\n'

/** Packets in which a message ends and another begins, sent with and without waiting for the answer. */
const pipelined: readonly {
  is: string
  packets: readonly string[]
  seen: readonly Partial<RecordedRequest>[]
  refused?: true
}[] = [
  {
    is: 'reads GET after GET, URL split',
    packets: [`${head('GET /a')}GET /`, 'BITS_POST HTTP/1.1\r\nHost: x\r\n\r\n'],
    seen: [{ url: '/a' }, { method: 'GET', url: '/BITS_POST' }],
  },
  {
    is: 'reads GET after GET, header split',
    packets: [`${head('GET /a')}GET /b HTTP/1.1\r\nHost: x\r\nNote: `, 'BITS_POST \r\n\r\n'],
    seen: [{ url: '/a' }, { method: 'GET', url: '/b', note: 'BITS_POST' }],
  },
  {
    is: 'reads GET after body, header split',
    packets: [
      head('POST /a', 'Content-Length: 5'),
      'helloGET /b HTTP/1.1\r\nHost: x\r\nNote: ',
      'BITS_POST \r\n\r\n',
    ],
    seen: [
      { url: '/a', body: 'hello' },
      { method: 'GET', url: '/b', note: 'BITS_POST' },
    ],
  },
  {
    is: 'reads GET after chunks, header split',
    packets: [
      `${head('POST /a', CHUNKED)}0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nNote: `,
      'BITS_POST \r\n\r\n',
    ],
    seen: [{ url: '/a' }, { method: 'GET', url: '/b', note: 'BITS_POST' }],
  },
  {
    is: 'reads POST after chunks, body later',
    packets: [`${head('POST /a', CHUNKED)}0\r\n\r\n${head('POST /b', 'Content-Length: 10')}`, 'BITS_POST '],
    seen: [{ url: '/a' }, { method: 'POST', url: '/b', body: 'BITS_POST ' }],
  },
  {
    is: 'reads POST after chunks, chunks later',
    packets: [
      `${head('POST /a', CHUNKED)}0\r\n\r\n${head('POST /b', CHUNKED)}`,
      'a\r\n',
      'BITS_POST ',
      '\r\n0\r\n\r\n',
      head('GET /c'),
    ],
    seen: [{ url: '/a' }, { method: 'POST', url: '/b', body: 'BITS_POST ' }, { url: '/c' }],
  },
  {
    is: 'reads POST after GET, body split',
    packets: [`${head('GET /a')}${head('POST /b', 'Content-Length: 13')}ab\n`, 'BITS_POST ', head('GET /c')],
    seen: [{ url: '/a' }, { method: 'POST', url: '/b', body: 'ab\nBITS_POST ' }, { url: '/c' }],
  },
  {
    is: 'returns 400: BITS_POST after GET',
    packets: [head('GET /a') + head('BITS_POST /b')],
    seen: [{ url: '/a' }],
    refused: true,
  },
  {
    is: 'returns 400: BITS_POST after BITS_POST',
    packets: [head('BITS_POST /a') + head('BITS_POST /b')],
    seen: [{ method: 'BITS_POST', url: '/a' }],
    refused: true,
  },
  {
    is: 'reads BIND after BITS_POST',
    packets: [head('BITS_POST /a') + head('BIND /b'), head('BIND /c'), head('BITS_POST /d')],
    seen: [
      { method: 'BITS_POST' },
      { method: 'BIND', url: '/b' },
      { method: 'BIND', url: '/c' },
      { method: 'BITS_POST', url: '/d' },
    ],
  },
  {
    is: 'returns 400: split BITS_POST after GET',
    packets: [`${head('GET /a')}BITS_`, head('POST /b')],
    seen: [{ url: '/a' }],
    refused: true,
  },
  {
    is: 'reads BIND after GET, split after BI',
    packets: [`${head('GET /a')}BI`, head('ND /b')],
    seen: [{ url: '/a' }, { method: 'BIND', url: '/b' }],
  },
  {
    is: 'reads BITS_POST after body, blank line',
    packets: [`${head('POST /a', 'Content-Length: 5')}hello\r\n`, head('BITS_POST /b')],
    seen: [
      { url: '/a', body: 'hello' },
      { method: 'BITS_POST', url: '/b' },
    ],
  },
  {
    is: 'returns 400: BITS_POST after body',
    packets: [`${head('POST /a', 'Content-Length: 5')}hello${head('BITS_POST /b')}`],
    seen: [{ url: '/a', body: 'hello' }],
    refused: true,
  },
  {
    is: 'returns 400: BITS_POST after chunks',
    packets: [`${head('POST /a', CHUNKED)}5\r\nhello\r\n0\r\n\r\n${head('BITS_POST /b')}`],
    seen: [{ url: '/a', body: 'hello' }],
    refused: true,
  },
  {
    // The body is as long as the offset of BITS_POST in the head; the token after it is not a method.
    is: 'returns 400: BITX at BITS_POST offset',
    packets: [`${DECOY}${'x'.repeat(DECOY.indexOf('BITS_POST'))}BITX / HTTP/1.1\r\nHost: x\r\n\r\n`],
    seen: [{ url: '/a', note: 'BITS_POST /b HTTP/1.1' }],
    refused: true,
  },
]

describe.each([{ waits: true }, { waits: false }])(
  'Method translator with pipelining in one segment (client waits for the first answer: $waits)',
  ({ waits }) => {
    it.each(pipelined)('$is', async ({ packets, seen, refused }) => {
      const { requests, listener } = recorder()
      const connection = await (await Host.start(plain, listener)).dial()
      const [first = '', ...rest] = packets
      await connection.send(first)
      // The answer to the first request, or the 400 that precedes it; none while its body is incomplete.
      const early =
        waits && !first.endsWith('Content-Length: 5\r\n\r\n') ? await connection.reply() : undefined
      await connection.send(...rest)
      connection.socket.end()
      const statuses = early ? [early.status] : []
      for (let reply = await connection.reply(); reply; reply = await connection.reply())
        statuses.push(reply.status)
      expect(requests).toEqual(seen.map((each) => expect.objectContaining(each)))
      if (refused) expect(statuses.at(-1)).toBe(400)
      else expect(statuses).toEqual(seen.map(() => 200))
    })
  },
)

describe('Method translator with unreliable lengths', () => {
  it('uses the Content-Length as sent when the application edits req.headers', async () => {
    const { listener } = recorder()
    const editing: RequestListener = (req, res) => {
      delete req.headers['content-length']
      delete req.headers['transfer-encoding']
      req.headers['content-length'] = '3'
      listener(req, res)
    }
    const connection = await (await Host.start(plain, editing)).dial()
    for (const { packets, seen } of [withLength('POST', '/', TRAP), inChunks('POST', '/', TRAP), BITS]) {
      await connection.send(...packets)
      expect(await connection.recordedRequest()).toMatchObject(seen)
      await connection.send(...BITS.packets)
      expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
    }
  })

  it('keeps a body unchanged when maxHeadersCount drops its Content-Length', async () => {
    const { requests, listener } = recorder()
    const server = http.createServer(listener)
    server.maxHeadersCount = 3
    const connection = await (await Host.start(plain, server)).dial()
    const many = Array.from({ length: 100 }, (_, i) => `H${i}: x`)
    await connection.send(head('POST /', ...many, length(TRAP)), TRAP)
    const reply = await connection.reply()
    // Newer versions of Node reject the request instead.
    if (reply?.status === 431) return
    expect(requests).toMatchObject([{ method: 'POST', body: TRAP }])
    await connection.send(...BITS.packets)
    expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
  })

  it('keeps a body unchanged after a head that only insecureHTTPParser accepts', async () => {
    const { listener } = recorder()
    const host = await Host.start(plain, http.createServer({ insecureHTTPParser: true }, listener))
    const shifted = `\r\n\r\n${TRAP}`
    const odd = [
      { packets: [`POST / HTTP/1.1\nHost: x\n${length(TRAP)}\n\n`, TRAP], body: TRAP },
      {
        packets: [`POST / HTTP/1.1\r\nHost: x\r\nContent-Length : ${TRAP.length}\r\n\r\n`, TRAP],
        body: TRAP,
      },
      // The head ends at LF LF; what looks like its end is already body.
      { packets: [`POST / HTTP/1.1\nHost: x\n${length(shifted)}\n\n\r\n\r\n`, TRAP], body: shifted },
      { packets: [`POST / HTTP/1.1\r\nHost: x\n${length(shifted)}\r\n\n`, '\r\n\r\n', TRAP], body: shifted },
    ]
    for (const { packets, body } of odd) {
      const connection = await host.dial()
      await connection.send(...packets)
      expect(await connection.recordedRequest()).toMatchObject({ method: 'POST', body })
    }
    const connection = await host.dial()
    await connection.send('BITS_POST / HTTP/1.1\nHost: x', '\n\n')
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BITS_POST' })
    await connection.send(head('BIND /'))
    expect(await connection.recordedRequest()).toMatchObject({ method: 'BIND' })
    await connection.send(...BITS.packets)
    expect(await connection.recordedRequest()).toMatchObject(BITS.seen)
  })

  it.each(['\n\n', '\r\n\n', '\n\r\n', '\r\n\r'])(
    'keeps a split URL unchanged after a head that ends in %j (insecureHTTPParser)',
    async (end) => {
      const { requests, listener } = recorder()
      const host = await Host.start(plain, http.createServer({ insecureHTTPParser: true }, listener))
      const post = `POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 12${end}`
      const packets = [
        // If the CRLF CRLF in the body were the end of the head, the length would fit.
        [`${post}xxxx\r\n\r\nabcdGET /abc`],
        // If the body began in the second packet, it would also end there.
        [`${post}xxxxxxxx`, 'xxxxGET /abc'],
        [`GET /a HTTP/1.1\r\nHost: x${end}GET /abc`],
      ]
      for (const first of packets) {
        requests.length = 0
        const connection = await host.dial()
        await connection.send(...first, 'BITS_POST HTTP/1.1\r\nHost: x\r\n\r\n')
        while (requests.length < 2) await connection.reply()
        expect(requests[1]).toMatchObject({ method: 'GET', url: '/abcBITS_POST' })
      }
    },
  )

  it('reads every request when Node ends empty ones early (optimizeEmptyRequests)', async () => {
    // Answered at once, because such a request has no 'end'.
    const { requests, listener } = recorder({ early: true })
    const options = { optimizeEmptyRequests: true } as http.ServerOptions
    const connection = await (await Host.start(plain, http.createServer(options, listener))).dial()
    const sequence = [
      bare('GET', '/'),
      BITS,
      bare('BITS_POST', '/'),
      inChunks('POST', '/', TRAP),
      bare('BIND', '/'),
      BITS,
    ]
    for (const { packets } of sequence) {
      await connection.send(...packets)
      expect(await connection.reply()).toMatchObject({ status: 200 })
    }
    expect(requests).toMatchObject(sequence.map(({ seen }) => seen))
  })
})

/** Random messages whose bodies contain method names and line ends. */
const randomMessage = fc
  .record({
    method: fc.constantFrom('BITS_POST', 'BITS_POST', 'BIND', 'GET', 'POST', 'PUT'),
    url: fc.constantFrom('/', '/BITS_POST', '/a'),
    form: fc.constantFrom('none', 'length', 'chunks'),
    parts: fc.array(
      fc.constantFrom(
        'BITS_POST ',
        'BITS_POST / HTTP/1.1\r\n',
        '\r\n',
        '\r\n\r\n',
        'BI',
        'BIND / HTTP/1.1',
        'x',
        '0\r\n\r\n',
      ),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ method, url, form, parts }): Message => {
    if (form === 'none') return bare(method, url)
    return form === 'length' ? withLength(method, url, ...parts) : inChunks(method, url, ...parts)
  })

/** Splits each packet again at `cuts`; 0 keeps it whole, and -1 joins it to the previous one. */
function recut(packets: readonly string[], cuts: readonly number[]): string[] {
  const sent: string[] = []
  packets.forEach((packet, i) => {
    const cut = cuts[i % cuts.length] ?? 0
    if (cut < 0 && sent.length > 0) sent.push(`${sent.pop()}${packet}`)
    else if (cut > 0 && cut < packet.length) sent.push(packet.slice(0, cut), packet.slice(cut))
    else sent.push(packet)
  })
  return sent
}

const cuts = fc.array(fc.integer({ min: -1, max: 40 }), { minLength: 1, maxLength: 12 })

describe('Method translator with random messages and splits', () => {
  it('reads every message of a client that waits for each answer', async () => {
    const { listener } = recorder()
    const host = await Host.start(plain, listener)
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomMessage, { minLength: 1, maxLength: 8 }),
        cuts,
        async (sequence, cuts) => {
          const connection = await host.dial()
          for (const { packets, seen } of sequence) {
            await connection.send(...recut(packets, cuts))
            expect(await connection.recordedRequest()).toMatchObject(seen)
          }
          connection.socket.destroy()
        },
      ),
      { numRuns: 400 },
    )
  })

  it('reads the messages of a pipelining client in order, up to a rejected BITS_POST', async () => {
    const { requests, listener } = recorder()
    const host = await Host.start(plain, listener)
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomMessage, { minLength: 2, maxLength: 8 }),
        cuts,
        async (sequence, cuts) => {
          requests.length = 0
          const connection = await host.dial()
          const packets = sequence.flatMap((message) => message.packets)
          await connection.send(...recut(packets, cuts))
          connection.socket.end()
          let answers = 0
          let last = 200
          for (;;) {
            const reply = await connection.reply()
            if (!reply) break
            expect(last, 'an answer after a 400').toBe(200)
            last = reply.status
            if (last === 200) expect(JSON.parse(reply.body)).toMatchObject(sequence[answers++]?.seen ?? {})
          }
          // Only a BITS_POST may be refused.
          if (requests.length < sequence.length)
            expect(sequence[requests.length]?.seen.method).toBe('BITS_POST')
          expect(requests).toMatchObject(sequence.slice(0, requests.length).map(({ seen }) => seen))
        },
      ),
      { numRuns: 400 },
    )
  })
})

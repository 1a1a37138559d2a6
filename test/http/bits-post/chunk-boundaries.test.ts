/**
 * The method translator may change bytes only where a message begins. These tests send bytes that look
 * like the start of a message, but are not.
 */
import http, { type RequestListener } from 'node:http'
import fc from 'fast-check'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { acceptBitsPostEverywhere } from '../../../lib/http/bits-post/accept.ts'
import {
  type Asked,
  chunked,
  closeAll,
  everyCut,
  Host,
  plain,
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

/** One message, in the packets in which it is sent, and how it must be seen. */
interface Message {
  readonly is: string
  readonly packets: readonly string[]
  readonly seen: Partial<Asked>
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
    const wire = await host.dial()
    // In its packets, in one packet, and with the body's last bytes in the head's packet.
    for (const sent of [packets, [packets.join('')], [packets.slice(0, -1).join(''), packets.at(-1) ?? '']]) {
      await wire.send(...BITS.packets)
      expect(await wire.asked()).toMatchObject(BITS.seen)
      await wire.send(...sent)
      expect(await wire.asked()).toMatchObject(seen)
    }
    await wire.send(...BITS.packets)
    expect(await wire.asked()).toMatchObject(BITS.seen)
  })

  it('reads a POST with a BITS_POST head in its body, split at every byte', async () => {
    const host = await Host.start(transport, recorder().listener)
    const wire = await host.dial()
    for (const { packets, seen } of [withLength('POST', '/', TRAP), inChunks('POST', '/', TRAP)]) {
      for (const cut of everyCut(packets.join(''))) {
        await wire.send(...cut)
        expect(await wire.asked(), JSON.stringify(cut)).toMatchObject(seen)
        await wire.send(...BITS.packets)
        expect(await wire.asked(), JSON.stringify(cut)).toMatchObject(BITS.seen)
      }
    }
  })

  it('reads a BITS_POST body of 200 segments', async () => {
    const host = await Host.start(transport, recorder().listener)
    const wire = await host.dial()
    const body = Array.from({ length: 200 }, () => TRAP.repeat(20))
    await wire.send(...withLength('BITS_POST', '/', ...body).packets)
    expect(await wire.asked()).toMatchObject({ method: 'BITS_POST', body: body.join('') })
    await wire.send(...BITS.packets)
    expect(await wire.asked()).toMatchObject(BITS.seen)
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
    const { asked, listener } = recorder({ early: true })
    const wire = await (await Host.start(plain, listener)).dial()
    const first = withLength('BITS_POST', '/first', 'BITS_POST ')
    const text = `BITS_POST ${packets.join('')}`
    for (const cut of [[text], ...everyCut(text)]) {
      asked.length = 0
      await wire.send(first.packets[0] ?? '')
      expect(await wire.reply()).toMatchObject({ status: 200 })
      await wire.send(...cut)
      expect(await wire.reply(), JSON.stringify(cut)).toMatchObject({ status: 200 })
      expect(asked, JSON.stringify(cut)).toMatchObject([first.seen, seen])
    }
  })

  it('returns 400 for a method similar to BITS_POST in one segment with the body', async () => {
    const { asked, listener } = recorder({ early: true })
    const host = await Host.start(plain, listener)
    for (const token of ['BITS', 'BITS_POSTX', 'BITD', 'BIT', 'BINDX', 'bits_post']) {
      asked.length = 0
      const wire = await host.dial()
      await wire.send(head('POST /', 'Content-Length: 5'))
      expect(await wire.reply()).toMatchObject({ status: 200 })
      await wire.send(`hello${head(`${token} /`)}`)
      expect(await wire.reply(), token).toMatchObject({ status: 400 })
      expect(asked).toMatchObject([{ method: 'POST', body: 'hello' }])
    }
  })
})

const DECOY = 'POST /a HTTP/1.1\r\nContent-Length: 44\r\nNote: BITS_POST /b HTTP/1.1\r\nHost: x\r\n\r\n'

/** Packets in which a further message begins behind the end of one, sent with and without waiting for the answer. */
const pipelined: readonly {
  is: string
  packets: readonly string[]
  seen: readonly Partial<Asked>[]
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
      const { asked, listener } = recorder()
      const wire = await (await Host.start(plain, listener)).dial()
      const [first = '', ...rest] = packets
      await wire.send(first)
      // The answer to the first request, or the 400 that overtakes it; not so if its body is still to come.
      const early = waits && !first.endsWith('Content-Length: 5\r\n\r\n') ? await wire.reply() : undefined
      await wire.send(...rest)
      wire.socket.end()
      const statuses = early ? [early.status] : []
      for (let reply = await wire.reply(); reply; reply = await wire.reply()) statuses.push(reply.status)
      expect(asked).toEqual(seen.map((each) => expect.objectContaining(each)))
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
    const wire = await (await Host.start(plain, editing)).dial()
    for (const { packets, seen } of [withLength('POST', '/', TRAP), inChunks('POST', '/', TRAP), BITS]) {
      await wire.send(...packets)
      expect(await wire.asked()).toMatchObject(seen)
      await wire.send(...BITS.packets)
      expect(await wire.asked()).toMatchObject(BITS.seen)
    }
  })

  it('keeps a body unchanged when maxHeadersCount drops its Content-Length', async () => {
    const { asked, listener } = recorder()
    const server = http.createServer(listener)
    server.maxHeadersCount = 3
    const wire = await (await Host.start(plain, server)).dial()
    const many = Array.from({ length: 100 }, (_, i) => `H${i}: x`)
    await wire.send(head('POST /', ...many, length(TRAP)), TRAP)
    const reply = await wire.reply()
    // Newer Nodes drop the request instead.
    if (reply?.status === 431) return
    expect(asked).toMatchObject([{ method: 'POST', body: TRAP }])
    await wire.send(...BITS.packets)
    expect(await wire.asked()).toMatchObject(BITS.seen)
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
      const wire = await host.dial()
      await wire.send(...packets)
      expect(await wire.asked()).toMatchObject({ method: 'POST', body })
    }
    const wire = await host.dial()
    await wire.send('BITS_POST / HTTP/1.1\nHost: x', '\n\n')
    expect(await wire.asked()).toMatchObject({ method: 'BITS_POST' })
    await wire.send(head('BIND /'))
    expect(await wire.asked()).toMatchObject({ method: 'BIND' })
    await wire.send(...BITS.packets)
    expect(await wire.asked()).toMatchObject(BITS.seen)
  })

  it.each(['\n\n', '\r\n\n', '\n\r\n', '\r\n\r'])(
    'keeps a split URL unchanged after a head that ends in %j (insecureHTTPParser)',
    async (end) => {
      const { asked, listener } = recorder()
      const host = await Host.start(plain, http.createServer({ insecureHTTPParser: true }, listener))
      const post = `POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 12${end}`
      const packets = [
        // If the CRLF CRLF in the body were the end of the head, the length would fit.
        [`${post}xxxx\r\n\r\nabcdGET /abc`],
        // If the body began in the second packet, it would end there, too.
        [`${post}xxxxxxxx`, 'xxxxGET /abc'],
        [`GET /a HTTP/1.1\r\nHost: x${end}GET /abc`],
      ]
      for (const first of packets) {
        asked.length = 0
        const wire = await host.dial()
        await wire.send(...first, 'BITS_POST HTTP/1.1\r\nHost: x\r\n\r\n')
        while (asked.length < 2) await wire.reply()
        expect(asked[1]).toMatchObject({ method: 'GET', url: '/abcBITS_POST' })
      }
    },
  )

  it('reads every request when Node ends empty ones early (optimizeEmptyRequests)', async () => {
    // Answered at once, because such a request has no 'end'.
    const { asked, listener } = recorder({ early: true })
    const options = { optimizeEmptyRequests: true } as http.ServerOptions
    const wire = await (await Host.start(plain, http.createServer(options, listener))).dial()
    const sequence = [
      bare('GET', '/'),
      BITS,
      bare('BITS_POST', '/'),
      inChunks('POST', '/', TRAP),
      bare('BIND', '/'),
      BITS,
    ]
    for (const { packets } of sequence) {
      await wire.send(...packets)
      expect(await wire.reply()).toMatchObject({ status: 200 })
    }
    expect(asked).toMatchObject(sequence.map(({ seen }) => seen))
  })
})

/** Messages at random, bodies full of traps, cut at random, preferably where it hurts. */
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

/** Cuts each packet again; 0 leaves it whole, and -1 glues it to the one before it. */
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
          const wire = await host.dial()
          for (const { packets, seen } of sequence) {
            await wire.send(...recut(packets, cuts))
            expect(await wire.asked()).toMatchObject(seen)
          }
          wire.socket.destroy()
        },
      ),
      { numRuns: 400 },
    )
  })

  it('reads the messages of a pipelining client in order, up to a rejected BITS_POST', async () => {
    const { asked, listener } = recorder()
    const host = await Host.start(plain, listener)
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomMessage, { minLength: 2, maxLength: 8 }),
        cuts,
        async (sequence, cuts) => {
          asked.length = 0
          const wire = await host.dial()
          const packets = sequence.flatMap((message) => message.packets)
          await wire.send(...recut(packets, cuts))
          wire.socket.end()
          let answers = 0
          let last = 200
          for (;;) {
            const reply = await wire.reply()
            if (!reply) break
            expect(last, 'an answer behind a 400').toBe(200)
            last = reply.status
            if (last === 200) expect(JSON.parse(reply.body)).toMatchObject(sequence[answers++]?.seen ?? {})
          }
          // Refused means BITS_POST, and nothing else.
          if (asked.length < sequence.length) expect(sequence[asked.length]?.seen.method).toBe('BITS_POST')
          expect(asked).toMatchObject(sequence.slice(0, asked.length).map(({ seen }) => seen))
        },
      ),
      { numRuns: 400 },
    )
  })
})

/**
 * Request smuggling: after an answered packet the middleware must see exactly the requests that plain Node
 * sees. The same bytes are sent to the middleware and to a bare `node:http` server that answers equally early
 * or late. Both must see the same requests, byte for byte, and the same end of the connection: a last request
 * on it reaches both servers or neither.
 */

import { describe, expect, it } from 'vitest'
import {
  bitsSide,
  inPlain,
  plainSide,
  type Seen,
  type Side,
  sendTurns,
  type Turns,
  translated,
} from './differential.ts'

export const trap = 'BITS_POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'
export const other = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'

export const length = (count: number | string): string => `Content-Length: ${count}`
export const chunked = 'Transfer-Encoding: chunked'
export const chunk = (text: string, extension = ''): string =>
  `${text.length.toString(16)}${extension}\r\n${text}\r\n`
export const end = '0\r\n\r\n'

/** How a message marks its end, correctly or not. */
export interface Framing {
  readonly description: string
  readonly fields: readonly string[]
  readonly body: string
  readonly version?: string
  readonly lineEnd?: string
  /**
   * Compared only if nothing is sent before its answer, because otherwise the results of plain Node itself
   * vary.
   */
  readonly alone?: boolean
}

const framing = (
  description: string,
  fields: readonly string[],
  body: string,
  more: Partial<Framing> = {},
): Framing => ({
  description,
  fields,
  body,
  ...more,
})

const ten = '0123456789'

const framings: readonly Framing[] = [
  framing('nothing', [], ''),
  framing('nothing, and a body', [], trap),
  framing('nothing, and a request', [], other),
  framing('a length', [length(ten.length)], ten),
  ...[trap, other, trap + other, `\r\n\r\n${trap}`].flatMap((body) => [
    framing('a length, and a body like a request', [length(body.length)], body),
    framing('length 0', [length(0)], body),
    framing('a length that is too short', [length(body.length - 5)], body),
    framing('a length that is too short by a line', [length(4)], `abcd${body}`),
    framing('a length that is too long', [length(body.length + 'BITS_POST /'.length)], body),
    framing('chunks', [chunked], chunk(body) + end),
    framing('chunks, and more', [chunked], chunk(body) + end + body),
    framing('a length and chunks', [length(body.length), chunked], chunk(body) + end),
    framing('chunks and a length', [chunked, length(body.length)], chunk(body) + end),
    framing('length 0 and chunks', [length(0), chunked], chunk(body) + end),
    framing('chunks and no last one', [chunked], chunk(body)),
    framing('a body like the end of chunks', [length(end.length + body.length)], end + body),
  ]),
  // More bytes than the server drains after a control packet.
  framing('100 kB', [length(100_000)], trap.padEnd(100_000, 'x')),
  framing('100 kB in chunks', [chunked], chunk(trap.padEnd(99_000, 'x')) + chunk(ten) + end),
  framing('1 MB', [length(1_000_000)], trap.repeat(20_000).slice(0, 1_000_000)),
  // Lengths.
  ...[
    ...[
      '+10',
      '-1',
      '010',
      '10 ',
      '\t10',
      '10,10',
      '10, 10',
      '10,11',
      '0x0a',
      '1e1',
      '10.0',
      '',
      ' ',
      '1 0',
      '10;',
      'ten',
    ],
    ...[
      '18446744073709551616',
      '9007199254740993',
      '00000000000000000000010',
      '\u00b9\u2070',
      '10\x0b',
      '10\0',
    ],
  ].map((value) => framing(`the length ${JSON.stringify(value)}`, [`Content-Length: ${value}`], ten)),
  framing('a length twice', [length(10), length(10)], ten),
  framing('two lengths', [length(10), length(5)], ten),
  framing('two lengths, the other way', [length(5), length(10)], ten),
  framing('a length, folded', ['Content-Length:\r\n 10'], ten),
  framing('a length, folded later', ['Content-Length: 1\r\n 0'], ten),
  framing('a blank before the colon', ['Content-Length : 10'], ten),
  framing('a length in a fold', [length(0), `X: a\r\n ${length(10)}`], ten),
  framing('a length behind a bare LF', [`X: a\n${length(10)}`], ten),
  framing('a length behind a bare CR', [`X: a\r${length(10)}`], ten),
  framing('a length behind NUL', [`X: a\0\r\n${length(10)}`], ten),
  // Codings.
  ...[
    ...[
      'Chunked',
      'CHUNKED',
      ' chunked',
      'chunked ',
      '\tchunked',
      'xchunked',
      'chunkedx',
      'chunked;q=1',
      '"chunked"',
    ],
    ...[
      'gzip, chunked',
      'chunked, gzip',
      'chunked, identity',
      'identity',
      'identity, chunked',
      'chunked,',
      ', chunked',
    ],
    ...['chunked, chunked', '', 'gzip', '\x0bchunked', 'chunked\0', 'chu nked'],
  ].map((value) =>
    framing(`the coding ${JSON.stringify(value)}`, [`Transfer-Encoding: ${value}`], chunk(other) + end),
  ),
  framing('a coding twice', [chunked, chunked], chunk(other) + end),
  framing('two codings', [chunked, 'Transfer-Encoding: identity'], chunk(other) + end),
  framing('two codings, the other way', ['Transfer-Encoding: identity', chunked], chunk(other) + end),
  framing('a coding, folded', ['Transfer-Encoding:\r\n chunked'], chunk(other) + end),
  framing('a coding in a fold', [length(10), `X: a\r\n ${chunked}`], ten),
  framing('a blank before the colon of a coding', ['Transfer-Encoding : chunked'], chunk(other) + end),
  framing('a coding behind a bare LF', [`X: a\n${chunked}`], chunk(other) + end),
  framing('an underscore', ['Transfer_Encoding: chunked', length(10)], ten),
  // Chunks.
  ...[
    ...[
      'A',
      '00a',
      '0xa',
      '+a',
      '-1',
      'a ',
      ' a',
      'a\t',
      'g',
      '',
      'a\0',
      'ffffffffffffffff',
      '1000000000000000a',
      '0a',
    ],
    ...[
      'a;',
      'a;x',
      'a;x=y',
      'a;x="y"',
      'a; x',
      'a;BITS_POST /',
      'a;x="\\""',
      'a;x\n',
      'a;x\ry',
      'a;\0',
      'a,x',
      'a x',
    ],
    `a;${'x'.repeat(1000)}`,
    `a;${'x'.repeat(20_000)}`,
  ].map((size) =>
    framing(`a chunk of ${JSON.stringify(size).slice(0, 30)}`, [chunked], `${size}\r\n${ten}\r\n${end}`),
  ),
  ...['\n', '\r', '\r\r\n', '\n\r', '', '\r\n\r\n', 'x\r\n'].flatMap((lineEnd) => [
    framing(`${JSON.stringify(lineEnd)} behind a size`, [chunked], `a${lineEnd}${ten}\r\n${end}${other}`),
    framing(`${JSON.stringify(lineEnd)} behind a chunk`, [chunked], `a\r\n${ten}${lineEnd}${end}${other}`),
    framing(
      `${JSON.stringify(lineEnd)} behind the last`,
      [chunked],
      `a\r\n${ten}\r\n0${lineEnd}\r\n${other}`,
    ),
    framing(`${JSON.stringify(lineEnd)} at the end`, [chunked], `a\r\n${ten}\r\n0\r\n${lineEnd}${other}`),
  ]),
  framing('a trailer', [chunked], `${chunk(ten)}0\r\nX: y\r\n\r\n`),
  framing('a length in a trailer', [chunked], `${chunk(ten)}0\r\n${length(50)}\r\n\r\n${other}`),
  framing('a verb in a trailer', [chunked], `${chunk(ten)}0\r\n${trap}`),
  // Heads.
  ...['\n', '\r', '\n\r', '\r\r\n', '\r\n '].map((lineEnd) =>
    framing(`${JSON.stringify(lineEnd)} in the head`, [length(ten.length)], ten, { lineEnd }),
  ),
  framing('a blank line with a blank in it', [length(10), ' \r\n'], ten),
  framing('an early end of the head', [`\r\n${length(10)}`], ten),
  framing('a field without a name', [': x', length(10)], ten),
  framing('a line that is no field', ['x', length(10)], ten),
  // Other ways to end a connection or change its protocol.
  ...['HTTP/1.0', 'HTTP/1.2', 'HTTP/0.9', 'HTTP/2.0', '', 'HTTP/1.1 '].flatMap((version) => [
    framing(`${version} with a length`, [length(10)], ten, { version }),
    framing(`${version} with chunks`, [chunked], chunk(other) + end, { version }),
    framing(`${version}, kept alive`, [length(10), 'Connection: keep-alive'], ten, { version }),
  ]),
  framing('Connection: close', [length(10), 'Connection: close'], ten + other),
  framing('Connection: Content-Length', [length(10), 'Connection: Content-Length'], ten + other),
  // Without an 'upgrade' listener, Node drops the bytes that arrive in one TCP packet with the end of the
  // upgrade request.
  framing('Upgrade', [length(10), 'Connection: Upgrade', 'Upgrade: websocket'], ten, { alone: true }),
  framing(
    'Upgrade to h2c',
    [length(other.length), 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c'],
    other,
    { alone: true },
  ),
  framing('Expect: 100-continue', [length(trap.length), 'Expect: 100-continue'], trap),
  framing('Expect: 100-continue, and no body', [length(0), 'Expect: 100-continue'], other),
  framing('Expect: 100-continue, in chunks', [chunked, 'Expect: 100-continue'], chunk(trap) + end),
  framing('another expectation', [length(trap.length), 'Expect: a-miracle'], trap),
]

export const unknown = '{00000000-0000-4000-8000-000000000000}'

/** Packets, with the time of their answers: before the body has arrived (`early`) or after it (`late`). */
const packets = [
  [
    'Fragment with an unknown session id',
    'early',
    ['BITS-Packet-Type: Fragment', `BITS-Session-Id: ${unknown}`, 'Content-Range: bytes 0-9/10'],
  ],
  ['Fragment without Content-Range', 'early', ['BITS-Packet-Type: Fragment', `BITS-Session-Id: ${unknown}`]],
  ['Ping', 'late', ['BITS-Packet-Type: Ping']],
  [
    'Close-Session with an unknown session id',
    'late',
    ['BITS-Packet-Type: Close-Session', `BITS-Session-Id: ${unknown}`],
  ],
  ['BITS_POST without a packet type', 'late', []],
] as const

export const packetHead = (type: string, fields: readonly string[]): string =>
  ['BITS_POST /a.bin HTTP/1.1', 'Host: x', `BITS-Packet-Type: ${type}`, ...fields].join('\r\n')

const messageOf = (
  when: string,
  fields: readonly string[],
  { version = 'HTTP/1.1', lineEnd = '\r\n', ...how }: Framing,
) =>
  [
    [
      `BITS_POST /a.bin ${version}`.trimEnd(),
      'Host: x',
      `X-Answer: ${when}`,
      ...fields,
      ...how.fields,
      '',
      '',
    ].join(lineEnd),
    how.body,
  ] as const

export const last = (verb: string): string =>
  `${verb} /last HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`

/**
 * Whether the middleware may have stopped before `plain[count]`: a BITS_POST that was sent before the answer
 * to the request before it, or that follows such a request. The parser rejects it, as it does without the
 * middleware.
 */
const mayStop = (plain: readonly Seen[], count: number, turns: Turns): boolean =>
  // Neither server sees a request that Node answers itself because of its Expect field.
  (count > 0 || plain[0]?.url !== '/a.bin') &&
  plain[count]?.method === 'BITS_POST' &&
  (turns.length === 1 || count > 1 || plain[count]?.url === '/smuggled')

/**
 * Expects the middleware to have seen the same requests as plain Node. When an answer is sent before the
 * request's body has arrived (`early`), bodies are not compared: how much of them is read depends on timing.
 */
export async function expectTheSame(
  sides: readonly [Side, Side],
  turns: Turns,
  early: boolean,
  description: string,
): Promise<void> {
  const [bits, plain] = await Promise.all([
    sendTurns(sides[0], turns),
    sendTurns(sides[1], inPlain(turns)).then((seen) => seen.map(translated)),
  ])
  const comparable = (seen: readonly Seen[]) =>
    seen.map((each) => (early ? { ...each, body: '', complete: false } : each))
  const expected = mayStop(plain, bits.length, turns) ? plain.slice(0, bits.length) : plain
  expect({ description, turns, seen: comparable(bits) }).toEqual({
    description,
    turns,
    seen: comparable(expected),
  })
}

/** How many framings are compared at the same time, each over connections of its own. */
const BatchSize = 60

async function inBatches<T>(all: readonly T[], run: (each: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < all.length; i += BatchSize) await Promise.all(all.slice(i, i + BatchSize).map(run))
}

const TestsPerPacket = 6

/**
 * Compares the middleware with plain Node, for each packet, each method that follows, and each framing.
 * @param oneIn each test takes one framing in `oneIn`, the next test other ones; 1: each test takes all
 */
export function compareFramings(oneIn: number): void {
  const numbered = packets.map((packet, number) => [...packet, number] as const)

  describe.each(numbered)('%s (%s answer)', (_, when, fields, packet) => {
    const early = when === 'early'
    /**
     * The framings of a test. They depend on its number only: a test that runs alone, or again, takes the
     * same ones.
     */
    const sample = (test: number, isWanted: (framing: Framing) => boolean): readonly Framing[] => {
      const offset = packet * TestsPerPacket + test
      return framings.filter((framing, i) => (i + offset) % oneIn === 0 && isWanted(framing))
    }

    it.each([
      ['GET', 1],
      ['BIND', 2],
      ['BITS_POST', 3],
    ] as const)('is followed by the same requests as in Node when %s is sent at once', async (verb, test) => {
      const sides = [await bitsSide(), await plainSide()] as const
      const lastRequest = last(verb)
      await inBatches(
        sample(test, ({ alone }) => !alone),
        async (how) => {
          const [head, body] = messageOf(when, fields, how)
          await expectTheSame(sides, [[head, body, lastRequest]], early, how.description)
          await expectTheSame(sides, [[head + body + lastRequest]], early, how.description)
          await expectTheSame(
            sides,
            [[head.slice(0, 5), `${head.slice(5)}${body.slice(0, 3)}`, body.slice(3), lastRequest]],
            early,
            how.description,
          )
        },
      )
    })

    it('is followed by the same requests as in Node when a TCP packet begins with BITS_POST', async () => {
      const sides = [await bitsSide(), await plainSide()] as const
      await inBatches(
        sample(4, ({ alone }) => !alone),
        async (how) => {
          const [head, body] = messageOf(when, fields, how)
          const rest = 'BITS_POST x\r\nHost: x\r\nConnection: close\r\n\r\n'
          await expectTheSame(
            sides,
            [[`${head}${body}GET /last HTTP/1.1\r\nNote: `, rest]],
            early,
            how.description,
          )
          const post = `POST /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${rest.length}\r\n\r\n`
          await expectTheSame(sides, [[head + body + post, rest]], early, how.description)
        },
      )
    })

    it.each([
      ['GET', 5],
      ['BITS_POST', 6],
    ] as const)(
      'is followed by the same requests as in Node when %s is sent after the answer',
      async (verb, test) => {
        const sides = [await bitsSide(), await plainSide()] as const
        await inBatches(
          // After an early answer the end of the body may arrive together with what follows.
          sample(test, ({ alone }) => !(alone && early)),
          async (how) => {
            const [head, body] = messageOf(when, fields, how)
            // Nothing can be sent after the answer to a request that is never answered.
            const whole = await sendTurns(sides[1], inPlain([[head, body]]))
            if (!whole.every(({ complete }) => complete)) return
            await expectTheSame(sides, [[head, body], [last(verb)]], early, how.description)
          },
        )
      },
    )
  })
}

/**
 * fast-check arbitraries for whole connections: valid packets, almost valid packets, and random bytes. All
 * text is latin1. Placeholders stand for values that only a running server knows: `$ID0` is the id of a
 * session, `$LAST` the id in the last answer.
 */

import fc from 'fast-check'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { badPaths, badSegments, badTargets, unresolvablePaths } from './names.ts'
import type { Ending } from './raw.ts'

/** Open sessions that a batch of cases can use, each with a file of its own. */
export const OpenSessions = 8
/** Bytes of the file of each open session. */
export const OpenFileBytes = 20

export interface Case {
  /** Whether the middleware is mounted in an Express app at `/upload`, or is the server's only listener. */
  readonly mounted: boolean
  /** The TCP packets that are sent before each wait for an answer. */
  readonly turns: readonly (readonly string[])[]
  readonly ending: Ending
}

const session = fc.nat(OpenSessions - 1)
const pick = <const T>(...values: readonly T[]) => fc.constantFrom(...values)
/** The usual value nine times of ten. With more unusual values hardly any packet would be processed far. */
const mostly = <T>(usual: fc.Arbitrary<T>, ...odd: fc.Arbitrary<T>[]) =>
  fc.oneof({ arbitrary: usual, weight: 9 * odd.length }, ...odd)

const byte = fc.nat(255).map((code) => String.fromCharCode(code))
const bytes = (maxLength: number) => fc.array(byte, { maxLength }).map((all) => all.join(''))
const visible = (maxLength: number) => fc.string({ unit: 'binary-ascii', maxLength })
const encoded = fc.string({ unit: 'binary', maxLength: 4 }).map((text) => {
  const all = [...Buffer.from(text)]
  return all.map((code) => `%${code.toString(16).padStart(2, '0')}`).join('')
})

const segment = fc.oneof(
  pick(
    'folder',
    'again',
    'way-out',
    'hole',
    'loop',
    'kept.bin',
    'a',
    '.bits-sessions',
    '$ID0.json',
    'b;c',
    'A',
  ),
  pick(...badSegments),
  visible(6),
  encoded,
)
const name = fc.oneof(
  session.map((i) => `live${i}.bin`),
  pick('a.bin', 'b.bin', 'folder/a.bin', 'again/b.bin', 'A.BIN', 'e%CC%81', '%C3%A9', 'a%20b'),
  pick(...badPaths, ...unresolvablePaths),
  fc.array(segment, { minLength: 1, maxLength: 5 }).map((all) => all.join('/')),
)
const target = fc.oneof(
  { arbitrary: name.map((path) => `$MOUNT/${path}`), weight: 12 },
  pick(...badTargets),
  fc
    .tuple(pick('http://x', 'https://u@x:1', 'HTTP://', 'ftp://x', '/', '*', ''), name)
    .map((all) => all.join('')),
  fc.tuple(name, pick('?', '#', ';', '?a=/../'), visible(5)).map((all) => `$MOUNT/${all.join('')}`),
  bytes(20),
)

const guid = fc
  .array(fc.nat(15), { minLength: 32, maxLength: 32 })
  .map((digits) => digits.map((digit) => digit.toString(16)).join(''))
  .map((hex) => `{${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}}`)
const sessionId = fc.oneof(
  { arbitrary: session.map((i) => `$ID${i}`), weight: 4 },
  session.map((i) => `$id${i}`),
  guid,
  pick(
    '',
    '{}',
    '../../x',
    '..',
    '%2e%2e/x',
    '$ID0.json',
    '$ID0/../$ID1',
    '$ID0 $ID1',
    'x'.repeat(101),
    '\0',
  ),
  visible(50),
)

const number = fc.oneof(
  pick(0, 1, 9, 10, 19, 20, 21, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 63, -1).map(BigInt),
  fc.bigInt({ min: 0n, max: 10n ** 25n }),
  fc.bigInt({ min: 0n, max: BigInt(OpenFileBytes) }),
)
const range = fc.oneof(
  fc.tuple(number, number, number).map(([first, last, total]) => `bytes ${first}-${last}/${total}`),
  fc.tuple(number, number).map(([first, last]) => `bytes ${first}-${last}/${OpenFileBytes}`),
  pick(
    'bytes */0',
    'bytes 0-0/0',
    'bytes 0--1/0',
    'bytes 0-0/1',
    'bytes */20',
    'bytes 0-9/*',
    'Bytes  0-9/20',
  ),
  pick('items 0-9/20', 'bytes=0-9/20', 'bytes 0-9', '', 'bytes 0-9/20, bytes 10-19/20', 'bytes 0x0-9/20'),
  visible(20),
)

type Fields = readonly (readonly [string, string])[]
const oddField = fc.oneof(
  fc.tuple(pick('BITS-Packet-Type', 'bits-packet-type', 'X-HTTP-Method-Override'), visible(8)),
  fc.tuple(
    pick('Content-Length'),
    fc.oneof(pick('0', '1', '10', '20', '-1', '1e1', '0x5', '5, 5', '', '99999999999999999999'), visible(3)),
  ),
  fc.tuple(
    pick('Transfer-Encoding'),
    pick('chunked', 'Chunked', 'gzip, chunked', 'chunked, chunked', 'identity', 'xchunked', ' chunked', ''),
  ),
  fc.tuple(pick('Expect'), pick('100-continue', '100-Continue', 'nothing', '')),
  fc.tuple(pick('Connection'), pick('close', 'keep-alive', 'Upgrade', 'Content-Length')),
  fc.tuple(pick('Upgrade'), pick('websocket', 'h2c')),
  fc.tuple(pick('Content-Encoding'), pick('gzip', 'identity', '')),
  fc.tuple(pick('BITS-Session-Id', 'BITS-Supported-Protocols', 'Content-Range', 'Content-Name'), bytes(30)),
  fc.tuple(
    pick('BITS-Session-Id', 'Content-Range', 'X'),
    fc.nat(5000).map((n) => 'x'.repeat(n)),
  ),
  fc.tuple(visible(8), bytes(12)),
) as fc.Arbitrary<readonly [string, string]>

// Not HEAD, because `readAnswers` cannot know which answers belong to a HEAD request.
const verb = mostly(
  pick('BITS_POST'),
  pick('BIND', 'POST', 'GET', 'PUT', 'OPTIONS', 'CONNECT', 'BITS_POS', 'BITS_POSTS', 'bits_post', 'BITS'),
)
const version = mostly(
  pick('HTTP/1.1'),
  pick('HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', '', 'HTTP/1.1 x'),
)
const lineEnd = mostly(pick('\r\n'), pick('\n', '\r', '\r\n ', '\n\r\n'))
const extras = fc.array(oddField, { maxLength: 3 })

interface Message {
  readonly line: string
  readonly fields: Fields
  readonly lineEnd: string
  readonly body: string
}

const message: fc.Arbitrary<Message> = fc
  .record({ verb, target, version, fields: fc.constant<Fields>([]), extras, lineEnd, body: bytes(0) })
  .map(({ verb, target, version, fields, extras, lineEnd, body }) => ({
    line: `${verb} ${target} ${version}`,
    fields: [...fields, ...extras],
    lineEnd,
    body,
  }))

/** How a body is framed. The given length may differ from the real one. */
const framing = mostly(
  pick('length'),
  pick('short', 'long', 'stalled', 'none', 'chunked', 'both', 'twice', 'torn chunks', 'extended chunks'),
)

function frame(body: string, how: string): { readonly fields: Fields; readonly body: string } {
  const size = body.length
  const length = (value: number) => ['Content-Length', String(value)] as const
  const chunked = ['Transfer-Encoding', 'chunked'] as const
  const chunks = `${size.toString(16)}\r\n${body}\r\n${size > 0 ? '0\r\n\r\n' : '\r\n'}`
  switch (how) {
    case 'short':
      return { fields: [length(Math.max(0, size - 3))], body }
    case 'long':
      return { fields: [length(size + 3)], body }
    case 'stalled':
      return { fields: [length(size)], body: body.slice(0, size / 2) }
    case 'none':
      return { fields: [], body }
    case 'chunked':
      return { fields: [chunked], body: chunks }
    case 'both':
      return { fields: [length(size), chunked], body: chunks }
    case 'twice':
      return { fields: [length(size), length(size + 1)], body }
    case 'torn chunks':
      return { fields: [chunked], body: chunks.replace('\r\n', '\n') }
    case 'extended chunks':
      return { fields: [chunked], body: chunks.replace('\r\n', ';a="BITS_POST \\"";b\r\n') }
    default:
      return { fields: [length(size)], body }
  }
}

const packetOf = (
  type: string,
  line: fc.Arbitrary<string>,
  fields: fc.Arbitrary<Fields>,
  body: fc.Arbitrary<string>,
) =>
  fc
    .record({ line, fields, body, how: framing, extras: mostly(fc.constant<Fields>([]), extras) })
    .map((all) => {
      const framed = frame(all.body, all.how)
      return {
        line: all.line,
        fields: [['BITS-Packet-Type', type] as const, ...all.fields, ...framed.fields, ...all.extras],
        lineEnd: '\r\n',
        body: framed.body,
      }
    })

const someBody = mostly(
  fc.constant(''),
  bytes(30),
  pick('BITS_POST / HTTP/1.1\r\n\r\n', '0\r\n\r\n', '\r\n\r\n'),
)
const anyLine = fc.tuple(verb, target).map(([method, url]) => `${method} ${url} HTTP/1.1`)
const openLine = (i: number): string => `BITS_POST $MOUNT/live${i}.bin HTTP/1.1`

/** A fragment of an open session, at the right offset or not. */
const openFragment = fc
  .record({
    i: session,
    first: fc.nat(OpenFileBytes - 1),
    length: fc.integer({ min: 1, max: OpenFileBytes }),
  })
  .chain(({ i, first, length }) => {
    const last = Math.min(OpenFileBytes, first + length) - 1
    const body = fc.constant('BITS_POST / HTTP/1.1'.slice(first, last + 1))
    const fields = fc.constant<Fields>([
      ['BITS-Session-Id', `$ID${i}`],
      ['Content-Range', `bytes ${first}-${last}/${OpenFileBytes}`],
    ])
    return packetOf('Fragment', fc.constant(openLine(i)), fields, body)
  })
const openEnd = fc
  .tuple(session, pick('Close-Session', 'Cancel-Session'))
  .chain(([i, type]) =>
    packetOf(
      type,
      fc.constant(openLine(i)),
      fc.constant<Fields>([['BITS-Session-Id', `$ID${i}`]]),
      fc.constant(''),
    ),
  )

const packet: fc.Arbitrary<Message> = fc.oneof(
  { arbitrary: openFragment, weight: 6 },
  openEnd,
  packetOf(
    'Create-Session',
    anyLine,
    mostly(pick(UploadProtocol), visible(40)).map(
      (protocols) => [['BITS-Supported-Protocols', protocols]] as const,
    ),
    someBody,
  ),
  packetOf(
    'Create-Session',
    name.map((path) => `BITS_POST $MOUNT/${path} HTTP/1.1`),
    fc.constant<Fields>([['BITS-Supported-Protocols', UploadProtocol]]),
    fc.constant(''),
  ),
  packetOf(
    'Fragment',
    anyLine,
    fc
      .tuple(sessionId, range)
      .map(([id, value]) => [['BITS-Session-Id', id] as const, ['Content-Range', value] as const]),
    fc.oneof(bytes(30), fc.constant('x'.repeat(10)), fc.constant('x'.repeat(20))),
  ),
  packetOf('Ping', anyLine, fc.constant<Fields>([]), someBody),
  packetOf(
    'Close-Session',
    anyLine,
    sessionId.map((id) => [['BITS-Session-Id', id]] as const),
    someBody,
  ),
  packetOf(
    'CANCEL-session',
    anyLine,
    sessionId.map((id) => [['BITS-Session-Id', id]] as const),
    someBody,
  ),
  message,
)

const written = ({ line, fields, lineEnd, body }: Message): string =>
  [line, 'Host: x', ...fields.map(([key, value]) => `${key}: ${value}`), '', ''].join(lineEnd) + body

/** A change to the bytes of a connection. */
interface Mutation {
  /** The position as a share of the length. */
  readonly at: number
  readonly kind: 'set' | 'insert' | 'delete' | 'double' | 'cut'
  readonly length: number
  readonly text: string
}

/** A share from 0 to 1. Not from `fc.double`, whose values are mostly near 0. */
const place = fc.nat(1000).map((share) => share / 1000)

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: place,
  kind: pick('set', 'insert', 'delete', 'double', 'cut'),
  length: fc.integer({ min: 1, max: 12 }),
  text: fc.oneof(
    bytes(4),
    pick('\r\n', '\r', '\n', '\0', ' ', '\t', ':', '..', '/', '%', '0', 'BITS_POST ', ';'),
  ),
})

function mutate(text: string, { at, kind, length, text: bytes }: Mutation): string {
  const from = Math.floor(at * text.length)
  const [before, here, after] = [
    text.slice(0, from),
    text.slice(from, from + length),
    text.slice(from + length),
  ]
  switch (kind) {
    case 'set':
      return before + bytes + text.slice(from + bytes.length)
    case 'insert':
      return before + bytes + here + after
    case 'delete':
      return before + after
    case 'double':
      return before + here + here + after
    case 'cut':
      return before
  }
}

function cutUp(text: string, places: readonly number[]): string[] {
  const at = [0, ...places.map((place) => Math.floor(place * text.length)).sort((a, b) => a - b), text.length]
  return at
    .slice(1)
    .map((end, i) => text.slice(at[i], end))
    .filter(Boolean)
}

const turn = fc
  .record({
    text: mostly(packet.map(written), bytes(200)),
    mutations: fc.oneof(
      { arbitrary: fc.constant<Mutation[]>([]), weight: 3 },
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
    ),
    places: fc.array(place, { maxLength: 4 }),
  })
  .map(({ text, mutations, places }) => cutUp(mutations.reduce(mutate, text), places))

/** A complete, valid upload to any name. */
const upload = name.map((path) =>
  [
    ['Create-Session', [`BITS-Supported-Protocols: ${UploadProtocol}`, 'Content-Length: 0'], ''],
    ['Fragment', ['BITS-Session-Id: $LAST', 'Content-Range: bytes 0-3/4', 'Content-Length: 4'], 'evil'],
    ['Close-Session', ['BITS-Session-Id: $LAST', 'Content-Length: 0'], ''],
  ].map(([type, fields, body]) => [
    [
      `BITS_POST $MOUNT/${path} HTTP/1.1`,
      'Host: x',
      `BITS-Packet-Type: ${type}`,
      ...(fields ?? []),
      '',
      body,
    ].join('\r\n'),
  ]),
)

/** A request that makes the server answer and close, if it has understood everything before. */
const lastRequest = ['GET /bye HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n']

export const anyCase: fc.Arbitrary<Case> = fc
  .record({
    mounted: fc.boolean(),
    turns: fc.oneof({ arbitrary: fc.array(turn, { minLength: 1, maxLength: 4 }), weight: 3 }, upload),
    /** Sends all turns at once, without waiting for answers. */
    pipelined: mostly(fc.constant(false), fc.constant(true)),
    ending: mostly(fc.constant<Ending>('wait'), fc.constant<Ending>('fin'), fc.constant<Ending>('reset')),
  })
  .map(({ mounted, turns, pipelined, ending }) => {
    // A client that has sent nothing gets no answer.
    const sent = turns.filter((packets) => packets.length > 0)
    const all = ending === 'wait' ? [...sent, lastRequest] : sent
    return { mounted, ending, turns: pipelined ? [all.flat()] : all }
  })

/**
 * Request smuggling, the short form: a tenth of the framings with each packet, and the tests without
 * framings.
 */
import { describe, expect, it } from 'vitest'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { bitsSide, plainSide, sendTurns } from './differential.ts'
import { request } from './raw.ts'
import {
  chunk,
  chunked,
  compareFramings,
  end,
  expectTheSame,
  last,
  length,
  other,
  packetHead,
  trap,
  unknown,
} from './smuggling.ts'

compareFramings(10)

it.each([
  ...[
    'BITS_POSTS',
    'BITS_POS',
    'BITS_PUT',
    'BITS-POST',
    'BITS_',
    'BITS',
    'BIT',
    'bITS_POST',
    'BITS_POSt',
    'BITSPOST',
  ],
  ...['BITS_POST\t', 'BITS_POST\0', 'BITS_POST/', 'BITS_P ST', 'BITSND', 'BI', 'B', 'BIN', 'BINDBITS_POST'],
])('Method translator: rejects the method %j like plain Node, wherever it is split', async (verb) => {
  const sides = [await bitsSide(), await plainSide()] as const
  const text = `${verb} /a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`
  const ping = `${packetHead('Ping', [length(0)])}\r\n\r\n`
  const cuts = Array.from({ length: verb.length + 2 }, (_, cut) => [text.slice(0, cut), text.slice(cut)])
  await Promise.all(cuts.map((pieces) => expectTheSame(sides, [pieces], false, verb)))
  await Promise.all(cuts.map((pieces) => expectTheSame(sides, [[ping], pieces], false, verb)))
})

describe('Unread request body', () => {
  const head = (size: number) =>
    `BITS_POST /a.bin HTTP/1.1\r\nHost: x\r\nBITS-Packet-Type: Fragment\r\nBITS-Session-Id: ${unknown}\r\n` +
    `Content-Range: bytes 0-${size - 1}/${size}\r\nContent-Length: ${size}\r\n\r\n`
  const filled = (size: number): string =>
    (other + trap).repeat(Math.ceil(size / (other + trap).length)).slice(0, size)

  it('is drained up to 10 MB, and the next request is read', async () => {
    const side = await bitsSide()
    const seen = await sendTurns(side, [[head(10_000_000), filled(10_000_000)], [last('BITS_POST')]])
    expect(seen.map(({ url }) => url)).toEqual(['/a.bin', '/last'])
  })

  it('closes the connection at 40 MB, and no part of it or after it is read as a request', async () => {
    const side = await bitsSide()
    const size = 40_000_000
    const seen = await sendTurns(side, [
      [head(size), ...Array.from({ length: 40 }, () => filled(size / 40)), last('GET')],
    ])
    expect(seen.map(({ url, complete }) => ({ url, complete }))).toEqual([{ url: '/a.bin', complete: false }])
  })
})

describe('Fragment of an existing session', () => {
  const file = `${trap}${other}`

  it.each([
    ['Content-Length', [length(file.length)], file, 200],
    ['chunks', [chunked], chunk(file) + end, 200],
    ['one chunk per byte', [chunked], [...file].map((each) => chunk(each)).join('') + end, 200],
    ['chunks that are too short', [chunked], chunk(file.slice(0, -1)) + end, 400],
    ['chunks that are too long', [chunked], chunk(file) + chunk(trap) + chunk(other) + end, 400],
    ['a Content-Length that is too small', [length(file.length - 1)], file.slice(0, -1), 400],
    ['a Content-Length that is too large', [length(file.length + trap.length)], file + trap, 400],
  ] as const)('ends where the body ends, with %s', async (_, fields, body, status) => {
    const { port, seen, upload } = await bitsSide()
    const statuses: number[] = []
    upload.events.on('refused', ({ error }) => statuses.push(error.status))
    upload.events.on('uploaded', () => statuses.push(200))
    const created = await request(
      port,
      packetHead('Create-Session', [`BITS-Supported-Protocols: ${UploadProtocol}`, length(0)]),
    )
    const id = `BITS-Session-Id: ${created.headers['bits-session-id']}`
    const range = `Content-Range: bytes 0-${file.length - 1}/${file.length}`
    const turns = [[`${packetHead('Fragment', [id, range, ...fields])}\r\n\r\n`, body], [last('BITS_POST')]]
    const all = await sendTurns({ port, seen }, turns)
    expect(all.map(({ method, url }) => `${method} ${url}`)).toEqual(['BITS_POST /a.bin', 'BITS_POST /last'])
    expect(statuses[0]).toBe(status)
  })
})

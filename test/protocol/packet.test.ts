import { describe, expect, it } from 'vitest'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { announcesBody, newGuid, packetType, readGuid, readPacket } from '../../lib/protocol/packet.ts'

const id = '{0D6F2C0E-5B1C-4E0B-9E47-7C1E2B0A9F11}'
const control = (type: string, more = {}) => ({ 'bits-packet-type': type, 'content-length': '0', ...more })
const fragment = (more: Record<string, string | undefined>) => ({
  'bits-packet-type': 'Fragment',
  'bits-session-id': id,
  'content-length': '100',
  'content-range': 'bytes 0-99/300',
  ...more,
})
const code = (headers: Record<string, string | string[] | undefined>): string => {
  try {
    readPacket(headers)
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'none'
}

describe('readPacket', () => {
  it('parses each packet type', () => {
    expect(readPacket(control('PING'))).toEqual({ type: 'Ping' })
    expect(readPacket(control(' create-session ', { 'bits-supported-protocols': UploadProtocol }))).toEqual({
      type: 'Create-Session',
      protocol: UploadProtocol,
    })
    expect(readPacket(control('Close-Session', { 'bits-session-id': id.toLowerCase() }))).toEqual({
      type: 'Close-Session',
      sessionId: id,
    })
    expect(readPacket(control('Cancel-Session', { 'bits-session-id': id }))).toEqual({
      type: 'Cancel-Session',
      sessionId: id,
    })
    expect(readPacket(fragment({}))).toEqual({
      type: 'Fragment',
      sessionId: id,
      range: { first: 0, last: 99, total: 300 },
    })
  })

  it.each(['Foo', 'Ack', '', 'Create Session', 'Fragment, Fragment'])(
    'rejects the packet type %j',
    (type) => {
      expect(code(control(type))).toBe('invalid-packet')
      expect(packetType(control(type))).toBeUndefined()
    },
  )

  it('rejects a packet without BITS-Packet-Type', () => {
    expect(code({ 'content-length': '0' })).toBe('invalid-packet')
  })

  it.each(['1', '-1', '+0', '0x0', '', '0, 0', '9'.repeat(20)])(
    'rejects a Ping with Content-Length %j',
    (length) => {
      expect(code(control('Ping', { 'content-length': length }))).toBe('invalid-packet')
    },
  )

  it.each([
    [`${UploadProtocol} {AAAAAAAA-0000-0000-0000-000000000000}`],
    [`{AAAAAAAA-0000-0000-0000-000000000000},${UploadProtocol.toUpperCase()}`],
    [`{AAAAAAAA-0000-0000-0000-000000000000} , \t${UploadProtocol}`],
    [`${'{AAAAAAAA-0000-0000-0000-000000000000} '.repeat(99)}${UploadProtocol}`],
  ])('accepts Create-Session with BITS-Supported-Protocols %j', (protocols) => {
    expect(code(control('Create-Session', { 'bits-supported-protocols': protocols }))).toBe('none')
  })

  it.each([
    [undefined],
    [' '],
    ['{AAAAAAAA-0000-0000-0000-000000000000}'],
    [UploadProtocol.slice(1, -1)],
    [`${'{AAAAAAAA-0000-0000-0000-000000000000} '.repeat(100)}${UploadProtocol}`],
  ])('rejects Create-Session with BITS-Supported-Protocols %j', (protocols) => {
    expect(code(control('Create-Session', { 'bits-supported-protocols': protocols }))).toBe('invalid-packet')
  })

  it('rejects a session ID that is missing or over 100 characters, and does not parse others', () => {
    expect(code(control('Close-Session'))).toBe('invalid-packet')
    expect(code(control('Close-Session', { 'bits-session-id': 'x'.repeat(101) }))).toBe('invalid-packet')
    for (const odd of ['x'.repeat(100), `../${id}`, `${id}, ${id}`, `${id.slice(1, -1)}`]) {
      expect(readPacket(control('Cancel-Session', { 'bits-session-id': odd }))).toMatchObject({
        sessionId: odd,
      })
    }
  })

  it('limits BITS-*, Content-Range and Content-Name to 4,096 characters, but no other header', () => {
    const at = (name: string, length: number) => code(control('Ping', { [name]: 'x'.repeat(length) }))
    expect(at('bits-foo', 4096)).toBe('none')
    expect(at('bits-foo', 4097)).toBe('invalid-packet')
    expect(at('content-name', 4097)).toBe('invalid-packet')
    expect(at('content-range', 4097)).toBe('invalid-packet')
    expect(at('authorization', 8000)).toBe('none')
  })

  it.each([
    ['no Content-Range', { 'content-range': undefined }],
    ['a malformed Content-Range', { 'content-range': 'bytes 0-99/*' }],
    ['a Content-Length below its range', { 'content-length': '99' }],
    ['a Content-Length above its range', { 'content-length': '101' }],
    ['no Content-Length', { 'content-length': undefined }],
    ['Content-Encoding gzip', { 'content-encoding': 'gzip' }],
  ])('rejects a fragment with %s', (_, headers) => {
    expect(code(fragment(headers))).toBe('invalid-packet')
  })

  it('accepts a fragment with Transfer-Encoding chunked or Content-Encoding identity', () => {
    expect(code(fragment({ 'content-length': undefined, 'transfer-encoding': 'chunked' }))).toBe('none')
    expect(code(fragment({ 'content-encoding': 'Identity' }))).toBe('none')
  })

  it('parses an empty file from each form of Content-Range, or from Content-Length 0 alone', () => {
    for (const range of ['bytes */0', 'bytes 0-0/0', 'bytes 0--1/0', undefined]) {
      expect(readPacket(fragment({ 'content-length': '0', 'content-range': range }))).toMatchObject({
        range: { first: 0, last: -1, total: 0 },
      })
    }
    expect(code(fragment({ 'content-length': '1', 'content-range': 'bytes */0' }))).toBe('invalid-packet')
    // Proxies remove Content-Length: 0, or make the empty body chunked.
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      for (const range of ['bytes 0-0/0', undefined]) {
        const packet = fragment({ 'content-length': undefined, 'content-range': range, ...headers })
        expect(readPacket(packet)).toMatchObject({ range: { total: 0 } })
      }
    }
  })

  it('detects an announced body (announcesBody) by Content-Length or Transfer-Encoding', () => {
    expect(announcesBody({})).toBe(false)
    expect(announcesBody({ 'content-length': '0' })).toBe(false)
    expect(announcesBody({ 'content-length': '1' })).toBe(true)
    expect(announcesBody({ 'transfer-encoding': 'chunked' })).toBe(true)
  })
})

describe('GUID', () => {
  it('is written in upper case with braces, as IIS does, and read in any case', () => {
    const guid = newGuid()
    expect(guid).toMatch(/^\{[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}$/)
    expect(readGuid(guid.toLowerCase())).toBe(guid)
    expect(readGuid(guid.slice(1, -1))).toBeUndefined()
    expect(readGuid(`${guid}\n`)).toBeUndefined()
    expect(newGuid()).not.toBe(guid)
  })

  it('can start with a prefix of six upper-case hexadecimal digits', () => {
    const guid = newGuid('0AF001')
    expect(guid).toMatch(/^\{0AF001[0-9A-F]{2}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}$/)
    expect(newGuid('0AF001')).not.toBe(guid)
    for (const odd of ['', '0AF00', '0AF0011', '0af001', '0AF00-']) {
      expect(() => newGuid(odd)).toThrow(
        new TypeError('newGuid: prefix must be six upper-case hexadecimal digits'),
      )
    }
  })
})

import { describe, expect, it } from 'vitest'
import { InvalidAck, readAck, readError } from '../../lib/client/ack.ts'
import type { PacketType } from '../../lib/protocol/packet.ts'

const Protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'
type Fields = Readonly<Record<string, string>>

const read = (type: PacketType, fields: Fields, sessionId?: string, bodyLength = 0) =>
  readAck(type, { status: 200, headers: { 'bits-packet-type': 'Ack', ...fields }, bodyLength }, sessionId)
const created = (fields: Fields) =>
  read('Create-Session', { 'bits-session-id': 'x', 'bits-protocol': Protocol, ...fields })

describe('readAck for Create-Session', () => {
  it('returns a session id of up to 100 characters and the protocol in lower case', () => {
    expect(created({})).toEqual({ sessionId: 'x', protocol: Protocol })
    expect(created({ 'bits-session-id': 'a'.repeat(100) }).sessionId).toHaveLength(100)
    expect(created({ 'bits-protocol': Protocol.toUpperCase() }).protocol).toBe(Protocol)
  })

  it.each<[Fields]>([
    [{ 'bits-session-id': '' }],
    [{ 'bits-session-id': 'a'.repeat(101) }],
    [{ 'bits-protocol': '' }],
    [{ 'bits-packet-type': 'Ping' }],
    [{ 'bits-packet-type': '' }],
    [{ 'bits-host-id': 'node:8080' }],
    [{ 'bits-host-id': 'a/b' }],
    [{ 'bits-host-id': 'user@node' }],
    [{ 'bits-host-id': 'node', 'bits-host-id-fallback-timeout': 'soon' }],
    [{ 'bits-host-id': 'node', 'bits-host-id-fallback-timeout': '-1' }],
  ])('throws InvalidAck for %j', (fields) => {
    expect(() => created(fields)).toThrow(InvalidAck)
  })

  it('returns hostId, without fallbackTimeout if that is empty or 4294967295', () => {
    const hostOf = (host: string, timeout: string) =>
      created({ 'bits-host-id': host, 'bits-host-id-fallback-timeout': timeout }).hostId
    expect(hostOf('node3.example', '86400')).toEqual({ host: 'node3.example', fallbackTimeout: 86_400 })
    expect(hostOf('FRANKCAO8', '0')).toEqual({ host: 'FRANKCAO8', fallbackTimeout: 0 })
    expect(hostOf('::1', '')).toEqual({ host: '::1' })
    expect(hostOf('[fe80::1]', '4294967295')).toEqual({ host: '[fe80::1]' })
    // A timeout without a host is ignored.
    expect(hostOf('', '5')).toBeUndefined()
  })
})

describe('readAck for Fragment', () => {
  it('returns the next offset and a reply URL of up to 2200 characters', () => {
    const offset = { 'bits-received-content-range': '5120' }
    expect(read('Fragment', offset, 'x')).toEqual({ received: 5120 })
    expect(read('Fragment', { ...offset, 'bits-reply-url': '' }, 'x')).toEqual({ received: 5120 })
    expect(read('Fragment', { ...offset, 'bits-reply-url': 'r\\{1}' }, 'x').replyUrl).toBe('r\\{1}')
    expect(read('Fragment', { ...offset, 'bits-reply-url': 'r'.repeat(2200) }, 'x').replyUrl).toHaveLength(
      2200,
    )
    expect(() => read('Fragment', { ...offset, 'bits-reply-url': 'r'.repeat(2201) }, 'x')).toThrow(InvalidAck)
    expect(read('Fragment', { 'bits-received-content-range': '9007199254740991' }).received).toBe(2 ** 53 - 1)
  })

  it.each(['', '-1', '+1', '1.0', '0x10', '1e3', '1, 1', 'bytes 1', '9007199254740992'])(
    'throws InvalidAck for the offset %j',
    (text) => {
      expect(() => read('Fragment', { 'bits-received-content-range': text }, 'x')).toThrow(InvalidAck)
    },
  )

  it('accepts its own session id in any case, and throws InvalidAck for another', () => {
    const offset = { 'bits-received-content-range': '1' }
    expect(read('Fragment', { ...offset, 'bits-session-id': '{ab}' }, '{AB}').received).toBe(1)
    expect(() => read('Fragment', { ...offset, 'bits-session-id': '{ac}' }, '{AB}')).toThrow(InvalidAck)
  })
})

it('readAck: rejects an Ack with a body, and sets hasAckHeader if the packet type is Ack in any case', () => {
  expect(() => read('Ping', {}, undefined, 1)).toThrow(InvalidAck)
  const hasAckHeader = (type: string) => {
    try {
      return read('Ping', { 'bits-packet-type': type }, undefined, 1)
    } catch (error) {
      return (error as InvalidAck).hasAckHeader
    }
  }
  expect([hasAckHeader('ACK'), hasAckHeader('Acknowledged')]).toEqual([true, false])
  expect(read('Close-Session', { 'bits-packet-type': ' ack ' })).toEqual({})
})

describe('readError', () => {
  it.each<[Fields, number | undefined]>([
    [{ 'bits-error': '0x8020001F' }, 0x8020001f],
    [{ 'bits-error-code': 'x8020001f' }, 0x8020001f],
    [{ 'bits-error': ' 0X1 ' }, 1],
    [{ 'bits-error': '0x80070057', 'bits-error-code': '0x80070005' }, 0x80070005],
    [{ 'bits-error': '0x80070057', 'bits-error-code': '1' }, 0x80070057],
    [{ 'bits-error': '8020001F' }, undefined],
    [{ 'bits-error': '0x180200020' }, undefined],
    [{ 'bits-error': '' }, undefined],
    [{}, undefined],
  ])('maps %j to hresult %s', (fields, hresult) => {
    expect(readError(fields).hresult).toBe(hresult)
  })

  it('returns context, undefined if BITS-Error-Context is empty', () => {
    expect(readError({ 'bits-error-context': '0x7' }).context).toBe(7)
    expect(readError({ 'bits-error-context': '' }).context).toBeUndefined()
  })
})

/**
 * Checks an answer of the middleware to any packet. The table of errors is written here a second time, from
 * the protocol specification, so that a mistake in the table of the library is found.
 */

import type { RawAnswer } from './raw.ts'

/** Status and HRESULT of all error Acks. */
const refusals = new Set([
  '400 0x80070057',
  '401 undefined',
  '403 0x80070005',
  '404 undefined',
  '408 undefined',
  '413 undefined',
  '416 undefined',
  '500 0x8020001F',
  '500 0x80200020',
  '500 0x80070070',
  '501 0x80070005',
  '503 undefined',
])

const fields = new Set([
  'pragma',
  'bits-packet-type',
  'bits-protocol',
  'bits-session-id',
  'content-length',
  'accept-encoding',
  'bits-received-content-range',
  'bits-error-code',
  'bits-error',
  'bits-error-context',
  'date',
  'connection',
  'keep-alive',
  'x-powered-by',
])

export const isAck = ({ headers }: RawAnswer): boolean => 'bits-packet-type' in headers

/** @returns why an Ack is invalid; undefined if it is valid */
export function faultOfAck({ status, headers, rawHeaders, body }: RawAnswer): string | undefined {
  const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
  if (new Set(names).size < names.length) return 'a duplicate field'
  const unexpected = names.find((name) => !fields.has(name))
  if (unexpected) return `an unexpected field: ${unexpected}`
  if (headers['bits-packet-type'] !== 'Ack') return 'BITS-Packet-Type is not Ack'
  if (headers['content-length'] !== '0' || body.length > 0) return 'a body'
  const { 'bits-error': error, 'bits-error-code': code, 'bits-error-context': context } = headers
  if (error !== code) return 'BITS-Error and BITS-Error-Code differ'
  if ((error === undefined) !== (context === undefined)) return 'BITS-Error-Context without BITS-Error'
  if (context !== undefined && context !== '0x5' && context !== '0x7') return `BITS-Error-Context ${context}`
  const received = headers['bits-received-content-range']
  if (received !== undefined && !/^\d{1,16}$/.test(String(received))) return `an invalid offset ${received}`
  if (status === 416 && received === undefined) return '416 without an offset'
  if (status === 200) return error === undefined ? undefined : 'status 200 with BITS-Error'
  return refusals.has(`${status} ${code}`) ? undefined : `${status} ${code} is not in the table`
}

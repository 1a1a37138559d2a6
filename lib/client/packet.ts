import {
  ContentNameHeader,
  MaxContentName,
  PacketTypeHeader,
  SessionIdHeader,
  SupportedProtocolsHeader,
  UploadProtocol,
} from '../protocol/headers.ts'

/** The bytes from `start` (inclusive) to `end` (exclusive). */
export interface FragmentRange {
  readonly start: number
  readonly end: number
  /** Bytes of the whole file. */
  readonly total: number
  read(): AsyncIterable<Uint8Array>
}

/** A packet as the client sends it. */
export type OutgoingPacket =
  | { readonly type: 'Ping' }
  | { readonly type: 'Create-Session' }
  | { readonly type: 'Fragment'; readonly sessionId: string; readonly range: FragmentRange }
  | { readonly type: 'Close-Session'; readonly sessionId: string }
  | { readonly type: 'Cancel-Session'; readonly sessionId: string }

type Fields = readonly (readonly [name: string, value: string])[]

export const UserAgent = 'express-bits-upload'

/** Fields that the caller adds to a packet. */
export interface CallerFields {
  /** Value of `Content-Name`. */
  readonly name: string | undefined
  readonly headers: Fields
}

/**
 * The header fields of a packet, in the order in which Windows writes them. Windows sends the file's name in
 * every packet except Ping (product note 11).
 */
export function packetFields(packet: OutgoingPacket, host: string, { name, headers }: CallerFields): Fields {
  const fields: [string, string][] = [
    ['Accept', '*/*'],
    [PacketTypeHeader, packet.type],
  ]
  if ('sessionId' in packet) fields.push([SessionIdHeader, packet.sessionId])
  if (packet.type === 'Create-Session') fields.push([SupportedProtocolsHeader, UploadProtocol])
  if (packet.type !== 'Ping' && isContentName(name)) fields.push([ContentNameHeader, name])
  if (packet.type === 'Fragment') fields.push(['Content-Range', contentRange(packet.range)])
  const length = packet.type === 'Fragment' ? packet.range.end - packet.range.start : 0
  return [...fields, ...requestFields(host, headers, length)]
}

/** The last fields of a request. The caller's fields may contain another `User-Agent`. */
export function requestFields(host: string, headers: Fields, length?: number): Fields {
  const hasUserAgent = headers.some(([name]) => name.toLowerCase() === 'user-agent')
  return [
    ...headers,
    ...(hasUserAgent ? [] : [['User-Agent', UserAgent] as const]),
    ['Host', host],
    ...(length === undefined ? [] : [['Content-Length', String(length)] as const]),
    ['Connection', 'Keep-Alive'],
  ]
}

/**
 * Value of Content-Range. An empty file has no range; `0-0/0` is a form that servers are likely to accept.
 */
const contentRange = ({ start, end, total }: FragmentRange): string =>
  `bytes ${total === 0 ? '0-0' : `${start}-${end - 1}`}/${total}`

/**
 * Whether a name has the characters and the length that Windows permits ([MC-BUP] 2.2.1.1, product note 3).
 * Content-Name is only informative, so any other name is omitted.
 */
const isContentName = (name: string | undefined): name is string =>
  name !== undefined && /^[ -~]+$/.test(name) && !/[\\/:*?"<>|]/.test(name) && name.length <= MaxContentName

/**
 * The fields as the object that `http.request` documents: instrumentation (OpenTelemetry, dd-trace) copies it
 * with `Object.assign`, which would destroy a flat list. Node keeps the order and the spelling. Two spellings
 * of one name would replace each other, so they become one field with two values.
 */
export function headersOf(fields: Fields): Record<string, string | string[]> {
  const byName = new Map<string, { readonly name: string; readonly values: string[] }>()
  for (const [name, value] of fields) {
    const key = name.toLowerCase()
    const values = byName.get(key)?.values
    if (values) values.push(value)
    else byName.set(key, { name, values: [value] })
  }
  return Object.fromEntries(
    [...byName.values()].map(({ name, values }) => [
      name,
      values.length === 1 && values[0] !== undefined ? values[0] : values,
    ]),
  )
}

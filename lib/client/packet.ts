import {
  ContentNameHeader,
  MaxContentName,
  PacketTypeHeader,
  SessionIdHeader,
  SupportedProtocolsHeader,
  UploadProtocol,
} from '../protocol/headers.ts'

/** The bytes from `start` up to, but not, `end`. */
export interface FragmentRange {
  readonly start: number
  readonly end: number
  /** Of the whole file. */
  readonly total: number
  read(): AsyncIterable<Uint8Array>
}

/** What this client sends. */
export type OutgoingPacket =
  | { readonly type: 'Ping' }
  | { readonly type: 'Create-Session' }
  | { readonly type: 'Fragment'; readonly sessionId: string; readonly range: FragmentRange }
  | { readonly type: 'Close-Session'; readonly sessionId: string }
  | { readonly type: 'Cancel-Session'; readonly sessionId: string }

type Fields = readonly (readonly [name: string, value: string])[]

export const UserAgent = 'express-bits-upload'

/** What the caller adds to the fields of a packet. */
export interface CallerFields {
  /** The file's name, for `Content-Name`. */
  readonly name: string | undefined
  readonly headers: Fields
}

/**
 * The header fields of a packet, in the order in which Windows writes them. Windows names the file with every packet but
 * Ping (product note 11).
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

/** The fields that end a request; those of the caller's may name another `User-Agent`. */
export function requestFields(host: string, headers: Fields, length?: number): Fields {
  const named = headers.some(([name]) => name.toLowerCase() === 'user-agent')
  return [
    ...headers,
    ...(named ? [] : [['User-Agent', UserAgent] as const]),
    ['Host', host],
    ...(length === undefined ? [] : [['Content-Length', String(length)] as const]),
    ['Connection', 'Keep-Alive'],
  ]
}

/** An empty file has no range; this is one of the spellings that servers may be expected to take. */
const contentRange = ({ start, end, total }: FragmentRange): string =>
  `bytes ${total === 0 ? '0-0' : `${start}-${end - 1}`}/${total}`

/** Windows' characters and length ([MC-BUP] 2.2.1.1, product note 3). It is for information: what does not fit is left out. */
const isContentName = (name: string | undefined): name is string =>
  name !== undefined && /^[ -~]+$/.test(name) && !/[\\/:*?"<>|]/.test(name) && name.length <= MaxContentName

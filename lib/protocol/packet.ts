import { type ContentRange, emptyFile, lengthOf, readContentRange } from './content-range.ts'
import { BitsError } from './errors.ts'
import { readGuid } from './guid.ts'
import {
  field,
  type HeaderFields,
  joined,
  MaxHeaderValue,
  MaxProtocols,
  MaxSessionId,
  PacketTypeHeader,
  SessionIdHeader,
  SupportedProtocolsHeader,
  UploadProtocol,
} from './headers.ts'

export interface PingPacket {
  readonly type: 'Ping'
}
export interface CreateSessionPacket {
  readonly type: 'Create-Session'
  /** The protocol that both ends speak, as the Ack names it. */
  readonly protocol: string
}
export interface FragmentPacket {
  readonly type: 'Fragment'
  readonly sessionId: string
  readonly range: ContentRange
}
export interface CloseSessionPacket {
  readonly type: 'Close-Session'
  readonly sessionId: string
}
export interface CancelSessionPacket {
  readonly type: 'Cancel-Session'
  readonly sessionId: string
}
/** What a client may send ([MC-BUP] 2.2). Session ids that are GUIDs are in their one spelling, upper case. */
export type Packet =
  | PingPacket
  | CreateSessionPacket
  | FragmentPacket
  | CloseSessionPacket
  | CancelSessionPacket

export type PacketType = Packet['type']

/** The download of a reply: no packet, but a GET or HEAD that belongs to a session all the same ([MC-BUP] 3.5). */
export interface ReplyRequest {
  readonly type: 'Get-Reply'
  readonly sessionId: string
}

const types = new Map<string, PacketType>(
  (['Ping', 'Create-Session', 'Fragment', 'Close-Session', 'Cancel-Session'] as const).map((type) => [
    type.toLowerCase(),
    type,
  ]),
)

const invalid = (text: string): BitsError => new BitsError('invalid-packet', text)

/** The packet's type, undefined where there is none that a client may send. The specification's own text writes
 * it in capitals, Windows in mixed case: the comparison takes any. */
export const packetType = (headers: HeaderFields): PacketType | undefined =>
  types.get(field(headers, PacketTypeHeader)?.trim().toLowerCase() ?? '')

/**
 * Reads a request's header fields as a packet, in the order of [MC-BUP] 3.2.5.2.2.
 * @throws {BitsError} `invalid-packet` for all that breaks the syntax, with the rule in its message.
 */
export function readPacket(headers: HeaderFields): Packet {
  checkHeaderSizes(headers)
  const type = packetType(headers)
  if (!type) throw invalid(`${PacketTypeHeader} is missing, unknown or not a client's`)
  const length = contentLength(headers)
  if (type === 'Fragment') return readFragment(headers, length)
  // [MC-BUP] answers 411 here, Windows 400 (product note 23).
  if (length === undefined) throw invalid(`${type} needs Content-Length: 0`)
  if (length !== 0) throw invalid(`${type} has no body, so its Content-Length is 0`)
  switch (type) {
    case 'Ping':
      return { type }
    case 'Create-Session':
      return { type, protocol: negotiate(headers) }
    default:
      return { type, sessionId: sessionId(headers) }
  }
}

/** Whether Content-Length, or chunked coding, announces a body. */
export const announcesBody = (headers: HeaderFields): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function checkHeaderSizes(headers: HeaderFields): void {
  for (const name in headers) {
    // Only the protocol's own: a Kerberos ticket in Authorization may well be longer.
    if (!name.startsWith('bits-') && name !== 'content-range' && name !== 'content-name') continue
    if ((joined(headers[name])?.length ?? 0) > MaxHeaderValue) {
      throw invalid(`${name} is longer than ${MaxHeaderValue} bytes`)
    }
  }
}

function contentLength(headers: HeaderFields): number | undefined {
  const value = field(headers, 'content-length')
  if (value === undefined) return undefined
  const length = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(length)) throw invalid('Content-Length is not a length')
  return length
}

/** The server picks the best of the client's list, best first ([MC-BUP] 1.7.1); there is only one to find. */
function negotiate(headers: HeaderFields): string {
  const offered = field(headers, SupportedProtocolsHeader)
  if (!offered?.trim()) throw invalid(`Create-Session needs ${SupportedProtocolsHeader}`)
  const protocols = offered
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean)
    .slice(0, MaxProtocols)
  if (!protocols.includes(UploadProtocol)) throw invalid(`This server speaks ${UploadProtocol} only`)
  return UploadProtocol
}

function sessionId(headers: HeaderFields): string {
  const id = field(headers, SessionIdHeader)?.trim()
  if (!id) throw invalid(`${SessionIdHeader} is missing`)
  if (id.length > MaxSessionId) throw invalid(`${SessionIdHeader} is longer than ${MaxSessionId} characters`)
  return readGuid(id) ?? id
}

function readFragment(headers: HeaderFields, length: number | undefined): FragmentPacket {
  const id = sessionId(headers)
  // Windows' servers support only identity, and its clients say so by silence (product note 12).
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity')
    throw invalid(`Content-Encoding ${encoding}: only identity is taken`)
  const value = field(headers, 'content-range')
  const chunked = headers['transfer-encoding'] !== undefined
  if (value === undefined) {
    // An empty file's fragment has no range that it could state.
    if (length === 0 && !chunked) return { type: 'Fragment', sessionId: id, range: emptyFile }
    throw invalid('A Fragment needs Content-Range')
  }
  const range = readContentRange(value)
  if (!range) throw invalid('Content-Range is not bytes first-last/total with first <= last < total')
  // A proxy may have re-framed the body as chunked; then its length is the range's, and is checked as it comes.
  if (length === undefined && !chunked) throw invalid('A Fragment needs Content-Length')
  if (length !== undefined && length !== lengthOf(range)) {
    throw invalid(`Content-Length ${length} is not the length of Content-Range ${value}`)
  }
  return { type: 'Fragment', sessionId: id, range }
}

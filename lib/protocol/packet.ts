import { randomUUID } from 'node:crypto'
import { type ContentRange, emptyFile, lengthOf, readContentRange } from './content-range.ts'
import { BitsError } from './errors.ts'
import {
  field,
  type HeaderFields,
  joinValues,
  MaxHeaderValue,
  MaxProtocols,
  MaxSessionId,
  PacketTypeHeader,
  SessionIdHeader,
  SupportedProtocolsHeader,
  UploadProtocol,
} from './headers.ts'

/** A client checks the connection, or authenticates before it sends data ([MC-BUP] 2.2.4). */
export interface PingPacket {
  /** The value of `BITS-Packet-Type`, in this spelling. */
  readonly type: 'Ping'
}

/** A client requests a new session for the URL ([MC-BUP] 2.2.2). */
export interface CreateSessionPacket {
  /** The value of `BITS-Packet-Type`, in this spelling. */
  readonly type: 'Create-Session'
  /** The protocol that both sides support, as sent in the Ack. */
  readonly protocol: string
}
/** A client sends bytes of the file, in the body of the request ([MC-BUP] 2.2.6). */
export interface FragmentPacket {
  /** The value of `BITS-Packet-Type`, in this spelling. */
  readonly type: 'Fragment'
  /** The value of `BITS-Session-Id`. */
  readonly sessionId: string
  /** The position of the bytes in the file. */
  readonly range: ContentRange
}

/** A client has received the Ack for the last fragment, and the reply if there is one ([MC-BUP] 2.2.8). */
export interface CloseSessionPacket {
  /** The value of `BITS-Packet-Type`, in this spelling. */
  readonly type: 'Close-Session'
  /** The value of `BITS-Session-Id`. */
  readonly sessionId: string
}

/** A client gives up the upload ([MC-BUP] 2.2.10). */
export interface CancelSessionPacket {
  /** The value of `BITS-Packet-Type`, in this spelling. */
  readonly type: 'Cancel-Session'
  /** The value of `BITS-Session-Id`. */
  readonly sessionId: string
}

/** A packet that a client may send ([MC-BUP] 2.2). Session ids that are GUIDs are in upper case. */
export type Packet =
  | PingPacket
  | CreateSessionPacket
  | FragmentPacket
  | CloseSessionPacket
  | CancelSessionPacket

/** The type of a packet, as Windows spells it: the value of `BITS-Packet-Type`. */
export type PacketType = Packet['type']

/** The download of a reply: not a packet, but a GET or HEAD that belongs to a session ([MC-BUP] 3.5). */
export interface ReplyRequest {
  /** Not a packet type of the protocol. */
  readonly type: 'Get-Reply'
  /** The session id in the path of the request. */
  readonly sessionId: string
}

const types = new Map<string, PacketType>(
  (['Ping', 'Create-Session', 'Fragment', 'Close-Session', 'Cancel-Session'] as const).map((type) => [
    type.toLowerCase(),
    type,
  ]),
)

const invalid = (text: string): BitsError => new BitsError('invalid-packet', text)

/**
 * The type of a packet; undefined if it is missing or not a type that clients send. [MC-BUP] writes types in
 * capitals, Windows in mixed case: the comparison ignores the letter case.
 */
export const packetType = (headers: HeaderFields): PacketType | undefined =>
  types.get(field(headers, PacketTypeHeader)?.trim().toLowerCase() ?? '')

/**
 * Parses the header fields of a request as a packet, in the order of [MC-BUP] 3.2.5.2.2.
 * @throws {BitsError} `invalid-packet` for any syntax error, with the violated rule in its message.
 */
export function readPacket(headers: HeaderFields): Packet {
  checkHeaderSizes(headers)
  const type = packetType(headers)
  if (!type) throw invalid(`${PacketTypeHeader} is missing, unknown, or not a packet type of clients`)
  const length = contentLength(headers)
  if (type === 'Fragment') return readFragment(headers, length)
  // Without Content-Length and Transfer-Encoding a request has no body (RFC 9112 6.3). Proxies written in Go, such as Caddy
  // and Traefik, remove `Content-Length: 0`, or send an empty chunked body, which the caller must check.
  if (length) throw invalid(`${type} has no body, so its Content-Length must be 0`)
  switch (type) {
    case 'Ping':
      return { type }
    case 'Create-Session':
      return { type, protocol: negotiate(headers) }
    default:
      return { type, sessionId: sessionId(headers) }
  }
}

/** Whether a body is chunked, so that only reading it shows whether it is empty. */
export const isChunked = (headers: HeaderFields): boolean => headers['transfer-encoding'] !== undefined

/** Whether Content-Length or Transfer-Encoding announces a body. */
export const announcesBody = (headers: HeaderFields): boolean =>
  isChunked(headers) || Number(headers['content-length'] ?? 0) > 0

function checkHeaderSizes(headers: HeaderFields): void {
  for (const name in headers) {
    // Only the fields of the protocol: a Kerberos ticket in Authorization may be longer.
    if (!name.startsWith('bits-') && name !== 'content-range' && name !== 'content-name') continue
    if ((joinValues(headers[name])?.length ?? 0) > MaxHeaderValue) {
      throw invalid(`${name} is longer than ${MaxHeaderValue} bytes`)
    }
  }
}

function contentLength(headers: HeaderFields): number | undefined {
  const value = field(headers, 'content-length')
  if (value === undefined) return undefined
  const length = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(length))
    throw invalid('Content-Length is not a number of bytes')
  return length
}

/** Selects the best protocol from the client's list, best first ([MC-BUP] 1.7.1); only one is defined. */
function negotiate(headers: HeaderFields): string {
  const offered = field(headers, SupportedProtocolsHeader)
  if (!offered?.trim()) throw invalid(`Create-Session needs ${SupportedProtocolsHeader}`)
  const protocols = offered
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean)
    .slice(0, MaxProtocols)
  if (!protocols.includes(UploadProtocol)) throw invalid(`This server supports only ${UploadProtocol}`)
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
  // Windows servers support only identity, and Windows clients omit the field (product note 12).
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity')
    throw invalid(`Content-Encoding ${encoding}: only identity is accepted`)
  const value = field(headers, 'content-range')
  if (value === undefined) {
    // The fragment of an empty file has no valid range. A proxy may have removed Content-Length: 0, or made the body chunked.
    if (!length) return { type: 'Fragment', sessionId: id, range: emptyFile }
    throw invalid('A Fragment needs Content-Range')
  }
  const range = readContentRange(value)
  if (!range) throw invalid('Content-Range is not bytes first-last/total with first <= last < total')
  // A proxy may have changed the framing to chunked. Then the range gives the length, which is checked during
  // the read.
  if (length === undefined && !isChunked(headers) && lengthOf(range) > 0) {
    throw invalid('A Fragment needs Content-Length')
  }
  if (length !== undefined && length !== lengthOf(range)) {
    throw invalid(`Content-Length ${length} is not the length of Content-Range ${value}`)
  }
  return { type: 'Fragment', sessionId: id, range }
}

const curly = /^\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}$/i

/**
 * Creates a GUID in the form of MS-DTYP 2.3.4.3, in upper case as IIS writes it. It is a secret (its bearer
 * has access to the session): 122 bits are random.
 * @param prefix six upper-case hexadecimal digits at its start, which are public; then 98 bits are random
 * @throws {TypeError} if `prefix` is invalid
 */
export function newGuid(prefix?: string): string {
  const random = randomUUID().toUpperCase()
  if (prefix === undefined) return `{${random}}`
  if (!/^[0-9A-F]{6}$/.test(prefix))
    throw new TypeError('newGuid: prefix must be six upper-case hexadecimal digits')
  return `{${prefix}${random.slice(prefix.length)}}`
}

/** Parses a GUID in any letter case and returns it in upper case; undefined if the text is not a GUID. */
export const readGuid = (text: string): string | undefined =>
  curly.test(text) ? text.toUpperCase() : undefined

import {
  ErrorContextHeader,
  ErrorHeaders,
  field,
  type HeaderFields,
  HostIdFallbackTimeoutHeader,
  HostIdHeader,
  MaxSessionId,
  MaxUrl,
  PacketTypeHeader,
  ProtocolHeader,
  ReceivedContentRangeHeader,
  ReplyUrlHeader,
  SessionIdHeader,
} from '../protocol/headers.ts'
import type { PacketType } from '../protocol/packet.ts'

/** The response to a packet. */
export interface HttpResponse {
  readonly status: number
  readonly headers: HeaderFields
  /** Bytes of the body; an Ack has none. */
  readonly bodyLength: number
}

/** The error headers of a response. */
export interface ErrorFields {
  /** HRESULT of `BITS-Error-Code` or `BITS-Error`, a number from 0 to 2^32 - 1. */
  readonly hresult: number | undefined
  /** 5, the remote file, or 7, the remote application. */
  readonly context: number | undefined
}

/** The Host-Id of a session: the host that its later packets go to. */
export interface AssignedHost {
  readonly host: string
  /** Seconds of failures after which the client returns to the original host; absent: never. */
  readonly fallbackTimeout?: number
}

/** The fields of an Ack. Which are present depends on the packet type. */
export interface ParsedAck {
  readonly sessionId?: string
  readonly protocol?: string
  readonly hostId?: AssignedHost
  /** The offset that the server expects next. */
  readonly received?: number
  readonly replyUrl?: string
}

/** A response that violates section 2 of [MC-BUP]: "the client MUST discard the message". */
export class InvalidAck extends Error {
  override readonly name = 'InvalidAck'
  /** Whether `BITS-Packet-Type` is `Ack`, so that the response is that of a BITS server. */
  readonly hasAckHeader: boolean

  constructor(message: string, hasAckHeader = true) {
    super(message)
    this.hasAckHeader = hasAckHeader
  }
}

// The specification has both x8020001F and 0x80070057.
const hexadecimalSyntax = /^0?x([0-9a-f]{1,8})$/i
/** A fallback timeout of this many seconds means "never" ([MC-BUP] 3.1.2.3). */
const InfiniteFallbackSeconds = 0xffffffff
// [MC-BUP] 2.2.3.2: a host of RFC 1738, or an IPv6 address; IIS accepts up to 300 characters.
const hostSyntax = /^(?:[a-z0-9._-]{1,300}|\[?[0-9a-f:.]{2,45}\]?)$/i

export function readError(headers: HeaderFields): ErrorFields {
  const values = ErrorHeaders.map((name) => readHexadecimal(field(headers, name)))
  return {
    hresult: values.find((value) => value !== undefined),
    context: readHexadecimal(field(headers, ErrorContextHeader)),
  }
}

function readHexadecimal(value: string | undefined): number | undefined {
  const digits = hexadecimalSyntax.exec(value?.trim() ?? '')?.[1]
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

/** Whether a response is that of a BITS server, and not of a proxy. */
export const isAck = (headers: HeaderFields): boolean =>
  field(headers, PacketTypeHeader)?.trim().toLowerCase() === 'ack'

/**
 * Parses the Ack of a packet that succeeded.
 * @param sessionId that of the packet; an Ack may omit it, as IIS does, but not change it
 * @throws {InvalidAck} if the response violates section 2 of [MC-BUP]
 */
export function readAck(type: PacketType, response: HttpResponse, sessionId: string | undefined): ParsedAck {
  const { headers } = response
  if (!isAck(headers)) {
    throw new InvalidAck(`${type} was answered ${response.status}, but not with an Ack`, false)
  }
  if (response.bodyLength > 0) throw new InvalidAck(`the Ack for ${type} has a body`)
  const ackSessionId = field(headers, SessionIdHeader)?.trim()
  if (sessionId !== undefined && ackSessionId && ackSessionId.toLowerCase() !== sessionId.toLowerCase()) {
    throw new InvalidAck(`the Ack for ${type} names another session`)
  }
  if (type === 'Create-Session') return readCreateSessionAck(headers, ackSessionId)
  if (type === 'Fragment') return readFragmentAck(headers)
  return {}
}

function readCreateSessionAck(headers: HeaderFields, sessionId: string | undefined): ParsedAck {
  if (!sessionId || sessionId.length > MaxSessionId) {
    throw new InvalidAck(`${SessionIdHeader} is missing, or longer than ${MaxSessionId} characters`)
  }
  const protocol = field(headers, ProtocolHeader)?.trim().toLowerCase()
  if (!protocol) throw new InvalidAck(`${ProtocolHeader} is missing`)
  const hostId = readHostIdHeader(headers)
  return { sessionId, protocol, ...(hostId && { hostId }) }
}

function readHostIdHeader(headers: HeaderFields): AssignedHost | undefined {
  const host = field(headers, HostIdHeader)?.trim()
  if (!host) return undefined
  if (!hostSyntax.test(host)) throw new InvalidAck(`${HostIdHeader} is not a host: ${host}`)
  const timeout = field(headers, HostIdFallbackTimeoutHeader)?.trim()
  if (!timeout) return { host }
  if (!/^\d{1,10}$/.test(timeout)) throw new InvalidAck(`${HostIdFallbackTimeoutHeader} is not a number`)
  return Number(timeout) >= InfiniteFallbackSeconds ? { host } : { host, fallbackTimeout: Number(timeout) }
}

/** The value of `BITS-Received-Content-Range`; undefined if it is missing or no offset. */
export function readOffset(headers: HeaderFields): number | undefined {
  const text = field(headers, ReceivedContentRangeHeader)?.trim() ?? ''
  const offset = Number(text)
  return /^\d+$/.test(text) && Number.isSafeInteger(offset) ? offset : undefined
}

function readFragmentAck(headers: HeaderFields): ParsedAck {
  const received = readOffset(headers)
  if (received === undefined) {
    const text = field(headers, ReceivedContentRangeHeader)?.trim()
    throw new InvalidAck(`${ReceivedContentRangeHeader} is ${text ? `not an offset: ${text}` : 'missing'}`)
  }
  const replyUrl = field(headers, ReplyUrlHeader)?.trim()
  if (replyUrl && replyUrl.length > MaxUrl) {
    throw new InvalidAck(`${ReplyUrlHeader} is longer than ${MaxUrl} characters`)
  }
  // An empty URL means no reply ([MC-BUP] 3.1.5.1.4).
  return { received, ...(replyUrl && { replyUrl }) }
}

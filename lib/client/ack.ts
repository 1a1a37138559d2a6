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

/** What came back for a packet. */
export interface HttpResponse {
  readonly status: number
  readonly headers: HeaderFields
  /** Bytes of its body; an Ack has none. */
  readonly bodyLength: number
}

/** The error of an answer, in either spelling of the header. */
export interface ErrorFields {
  /** HRESULT, as a number from 0 to 2^32 - 1. */
  readonly hresult: number | undefined
  /** 5, the remote file, or 7, the remote application. */
  readonly context: number | undefined
}

/** The host that the session's later packets go to. */
export interface AssignedHost {
  readonly host: string
  /** Seconds of failing after which the client goes back to the original host; absent: never. */
  readonly fallbackTimeout?: number
}

/** An Ack, read. Each packet's has what that packet's needs to have. */
export interface ParsedAck {
  readonly sessionId?: string
  readonly protocol?: string
  readonly hostId?: AssignedHost
  /** The next offset that the server wants. */
  readonly received?: number
  readonly replyUrl?: string
}

/** An answer that breaks section 2 of [MC-BUP]: "the client MUST discard the message". */
export class InvalidAck extends Error {
  override readonly name = 'InvalidAck'
  /** Whether it called itself an Ack, that is, came from a BITS server. */
  readonly hasAckHeader: boolean

  constructor(message: string, hasAckHeader = true) {
    super(message)
    this.hasAckHeader = hasAckHeader
  }
}

// The specification prints x8020001F beside 0x80070057.
const hexadecimal = /^0?x([0-9a-f]{1,8})$/i
/** In seconds: "never" ([MC-BUP] 3.1.2.3). */
const Infinite = 0xffffffff
// [MC-BUP] 2.2.3.2: a host of RFC 1738, or an IPv6 address; IIS takes 300 characters.
const hostSyntax = /^(?:[a-z0-9._-]{1,300}|\[?[0-9a-f:.]{2,45}\]?)$/i

export function readError(headers: HeaderFields): ErrorFields {
  const values = ErrorHeaders.map((name) => readHexadecimal(field(headers, name)))
  return {
    hresult: values.find((value) => value !== undefined),
    context: readHexadecimal(field(headers, ErrorContextHeader)),
  }
}

function readHexadecimal(value: string | undefined): number | undefined {
  const digits = hexadecimal.exec(value?.trim() ?? '')?.[1]
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

/** Whether a BITS server says it; else it is that of somebody in between. */
export const isAck = (headers: HeaderFields): boolean =>
  field(headers, PacketTypeHeader)?.trim().toLowerCase() === 'ack'

/**
 * Reads the Ack of a packet that succeeded.
 * @param sessionId the packet's own; an Ack may leave it out, as IIS does, but not change it
 * @throws {InvalidAck} for what breaks section 2 of [MC-BUP]
 */
export function readAck(type: PacketType, answer: HttpResponse, sessionId: string | undefined): ParsedAck {
  const { headers } = answer
  if (!isAck(headers)) {
    throw new InvalidAck(`${type} was answered ${answer.status}, but not with an Ack`, false)
  }
  if (answer.bodyLength > 0) throw new InvalidAck(`the Ack for ${type} has a body`)
  const named = field(headers, SessionIdHeader)?.trim()
  if (sessionId !== undefined && named && named.toLowerCase() !== sessionId.toLowerCase()) {
    throw new InvalidAck(`the Ack for ${type} is that of another session`)
  }
  if (type === 'Create-Session') return readCreated(headers, named)
  if (type === 'Fragment') return readReceived(headers)
  return {}
}

function readCreated(headers: HeaderFields, sessionId: string | undefined): ParsedAck {
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
  if (!hostSyntax.test(host)) throw new InvalidAck(`${HostIdHeader} is no host: ${host}`)
  const timeout = field(headers, HostIdFallbackTimeoutHeader)?.trim()
  if (!timeout) return { host }
  if (!/^\d{1,10}$/.test(timeout)) throw new InvalidAck(`${HostIdFallbackTimeoutHeader} is no number`)
  return Number(timeout) >= Infinite ? { host } : { host, fallbackTimeout: Number(timeout) }
}

function readReceived(headers: HeaderFields): ParsedAck {
  const text = field(headers, ReceivedContentRangeHeader)?.trim() ?? ''
  const received = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(received)) {
    throw new InvalidAck(`${ReceivedContentRangeHeader} is ${text ? `no offset: ${text}` : 'missing'}`)
  }
  const replyUrl = field(headers, ReplyUrlHeader)?.trim()
  if (replyUrl && replyUrl.length > MaxUrl) {
    throw new InvalidAck(`${ReplyUrlHeader} is longer than ${MaxUrl} characters`)
  }
  // An empty one counts as none ([MC-BUP] 3.1.5.1.4).
  return { received, ...(replyUrl && { replyUrl }) }
}

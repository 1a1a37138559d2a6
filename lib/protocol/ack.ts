import type { BitsError } from './errors.ts'
import {
  ErrorContextHeader,
  ErrorHeaders,
  HostIdFallbackTimeoutHeader,
  HostIdHeader,
  PacketTypeHeader,
  ProtocolHeader,
  ReceivedContentRangeHeader,
  ReplyUrlHeader,
  SessionIdHeader,
} from './headers.ts'

/** The host to which the client must send the rest ([MC-BUP] 2.2.3.2). */
export interface HostId {
  /** Host name or address, without port. */
  readonly host: string
  /** Seconds of failures after which the client returns to the original host. */
  readonly fallbackTimeout: number
}

/** The server's answer to a packet, as data. */
export interface Ack {
  readonly status: number
  readonly sessionId?: string | undefined
  /** Bytes held from 0 without holes: the next expected offset. */
  readonly received?: number | undefined
  /** Only in the Ack for Create-Session. */
  readonly protocol?: string
  readonly hostId?: HostId | undefined
  /** The URL of the reply; only in the Ack for the last Fragment ([MC-BUP] 2.2.7.2). */
  readonly replyUrl?: string | undefined
  readonly error?: BitsError
}

/**
 * The header fields of an Ack, in the order that was captured from IIS 6.
 * @param sessionId the session id; for a session that this packet did not create, as the packet wrote it
 */
export function ackFields(ack: Ack, sessionId = ack.sessionId): [name: string, value: string][] {
  const { received, protocol, hostId, replyUrl, error } = ack
  const fields: [string, string][] = [
    ['Pragma', 'no-cache'],
    [PacketTypeHeader, 'Ack'],
  ]
  if (protocol) fields.push([ProtocolHeader, protocol])
  if (sessionId) fields.push([SessionIdHeader, sessionId])
  if (hostId) {
    fields.push([HostIdHeader, hostId.host], [HostIdFallbackTimeoutHeader, String(hostId.fallbackTimeout)])
  }
  fields.push(['Content-Length', '0'])
  // In a response: the encodings that fragments may have.
  if (protocol) fields.push(['Accept-Encoding', 'identity'])
  if (received !== undefined) fields.push([ReceivedContentRangeHeader, String(received)])
  if (replyUrl !== undefined) fields.push([ReplyUrlHeader, replyUrl])
  if (error?.challenge) fields.push(['WWW-Authenticate', error.challenge])
  if (error?.hresult !== undefined) {
    const hresult = `0x${error.hresult.toString(16).toUpperCase().padStart(8, '0')}`
    for (const name of ErrorHeaders) fields.push([name, hresult])
    fields.push([ErrorContextHeader, `0x${error.context}`])
  }
  return fields
}

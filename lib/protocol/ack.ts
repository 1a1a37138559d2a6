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

/** Where the client is to send the rest ([MC-BUP] 2.2.3.2). */
export interface HostId {
  /** Host name or address, without port. */
  readonly host: string
  /** Seconds of failing after which the client goes back to the original host. */
  readonly fallbackTimeout: number
}

/** The server's answer to a packet, as data. */
export interface Ack {
  readonly status: number
  readonly sessionId?: string | undefined
  /** Bytes held from 0 without holes, that is the next offset wanted. */
  readonly received?: number | undefined
  /** In the Ack for Create-Session only. */
  readonly protocol?: string
  readonly hostId?: HostId | undefined
  /** Where the reply is to be fetched; in the Ack for the last Fragment only ([MC-BUP] 2.2.7.2). */
  readonly replyUrl?: string | undefined
  readonly error?: BitsError
}

/**
 * The header fields of an Ack, in the order in which IIS 6 was seen to write them.
 * @param sessionId of a session that did not begin with this packet: what the packet said
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
  // Of a response: which encodings the fragments may have.
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

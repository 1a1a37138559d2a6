import type { TLSSocket } from 'node:tls'
import { UploadError } from './errors.ts'
import { RetryableError } from './response-policy.ts'
import {
  hostOf,
  isTlsRecord,
  portOf,
  requestedCertificate,
  speaksTls,
  tlsFault,
  UseHttps,
} from './tls-fault.ts'

/** What the requests of a transport know of each other, by origin. */
export class TransportHistory {
  /** Origins that sent a response. */
  readonly answered = new Set<string>()
  /** Origins where the port was probed for TLS. */
  readonly probed = new Set<string>()
  /** Connections that a server closed after its request for a client certificate, without any response so far. */
  readonly closedAfterRequest = new Map<string, number>()
}

/** A connection that failed before its response began. */
export interface FailedConnection {
  readonly url: URL
  readonly cause: unknown
  readonly socket: TLSSocket | null
  /** The connection, for https with its handshake, was made. */
  readonly connected: boolean
  readonly reused: boolean
  /** The client has a certificate for this server. */
  readonly hasCertificate: boolean
  /** The server requested a certificate, as far as the handshake showed. */
  readonly certificateRequested: boolean
}

/** Errors of Node's HTTP parser, except that of a connection that ended too early. */
const parserError = /^HPE_(?!INVALID_EOF_STATE)/
/** Such failures in a row that count as a refusal of the client certificate; Node's server sends no alert. */
const MaxClosedAfterRequest = 5

/** The error of the caller: an {@link UploadError} if no further attempt can succeed. */
export async function connectionError(
  failure: FailedConnection,
  history: TransportHistory,
  signal: AbortSignal | undefined,
): Promise<RetryableError | UploadError> {
  const { url, cause, socket, connected, hasCertificate } = failure
  const tlsError = socket?.authorizationError
  if (tlsError && !connected) return new UploadError('certificate', `${tlsError}.`, { cause })
  const certificateRequested = failure.certificateRequested || requestedCertificate(socket)
  const fault =
    tlsFault(cause, { connected, hasCertificate, certificateRequested }) ??
    (connected && (await isTlsServer(url, cause, history, signal)) ? UseHttps : undefined)
  if (fault) return new UploadError('tls-failed', fault, { cause })

  const { code = '', message = 'closed without an answer' } = (cause ?? {}) as NodeJS.ErrnoException
  let hint = ''
  if (connected && certificateRequested) {
    const certificate = hasCertificate ? 'the one of this client may not be trusted' : 'this client has none'
    hint = `; the server requests a client certificate, and ${certificate}`
    if (isRefusal(url, history)) {
      return new UploadError(
        'tls-failed',
        `The connection was closed ${MaxClosedAfterRequest} times${hint}.`,
        {
          cause,
        },
      )
    }
  }
  return new RetryableError('retry', `The connection failed: ${message}${hint}`, {
    cause,
    // The server closed a kept connection at the moment at which it was used again.
    stale: failure.reused,
    unsent: !connected,
    malformed: parserError.test(code),
  })
}

function isRefusal({ origin }: URL, { answered, closedAfterRequest }: TransportHistory): boolean {
  if (answered.has(origin)) return false
  const count = (closedAfterRequest.get(origin) ?? 0) + 1
  closedAfterRequest.set(origin, count)
  return count >= MaxClosedAfterRequest
}

/**
 * Whether a request without TLS failed because the server uses TLS at this port. Node and OpenSSL close such
 * a connection without an answer, so the port is probed, once.
 */
async function isTlsServer(
  url: URL,
  cause: unknown,
  { answered, probed }: TransportHistory,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (url.protocol === 'https:' || answered.has(url.origin)) return false
  if (isTlsRecord((cause as { readonly rawPacket?: Buffer } | undefined)?.rawPacket)) return true
  if (probed.has(url.origin)) return false
  probed.add(url.origin)
  return speaksTls(hostOf(url), portOf(url), signal)
}

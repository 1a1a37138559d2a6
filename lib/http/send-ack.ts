import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Ack, ackFields } from '../protocol/ack.ts'
import type { BitsError } from '../protocol/errors.ts'
import { normalizeResponse } from './node-tuning/hidden-classes.ts'

/**
 * Sends an Ack and drains what the client is still sending. Sends nothing if the connection is closed or an
 * answer was already sent.
 * @param sessionId the value of BITS-Session-Id
 * @param idleTimeout milliseconds that the client may be silent while its unread body is drained
 */
export function sendAck(
  request: IncomingMessage,
  response: ServerResponse,
  ack: Ack,
  sessionId: string | undefined,
  idleTimeout: number,
): void {
  // Another handler may have answered already, for example a timeout middleware.
  if (response.headersSent || response.destroyed) {
    drainBody(request, idleTimeout)
    return
  }
  normalizeResponse(response)
  response.statusCode = ack.status
  for (const [name, value] of ackFields(ack, sessionId)) response.setHeader(name, value)
  if (ack.error?.code === 'stopping') {
    // Otherwise a client that keeps sending would prevent the server from stopping.
    response.setHeader('Connection', 'close').end()
    return
  }
  if (hasEnded(request)) {
    request.resume()
    response.end()
    return
  }
  // An early answer: its head is sent now, but `end` must wait for the end of the body. If this is the last
  // answer of the connection, Node closes the connection at `end`, and a client that is still sending would
  // never read the answer.
  response.flushHeaders()
  drainBody(request, idleTimeout, () => response.end())
}

/** Answers with a plain HTTP error, because a download has no Ack. */
export function refuseReply(response: ServerResponse, { code, status, challenge }: BitsError): void {
  if (response.headersSent) return
  // In an Ack, 500 restarts the upload; to a download it would only mean: retry.
  response.statusCode = code === 'session-not-found' ? 404 : status
  if (challenge !== undefined) response.setHeader('WWW-Authenticate', challenge)
  response.setHeader('Content-Length', 0)
  response.end()
}

/**
 * Whether the whole body has arrived. Node sets `complete` at the last byte. A mocked request, as that of
 * `light-my-request`, only ends its stream.
 */
const hasEnded = (request: IncomingMessage): boolean => request.complete || request.readableEnded

/** Limit for draining one body, in bytes: more than the largest fragment of a Windows client, 13 MB. */
const MaxDrainedBytes = 16 * 1024 * 1024
/** The longest silence of the client while its body is drained. There is no minimum rate. */
const MaxDrainSilenceMs = 30_000

/**
 * Drains the rest of a body whose request was answered before the body had ended. It reads and discards the
 * bytes up to a limit; beyond the limit it closes the connection. Closing at once would lose the Ack (a peer
 * that is still sending gets a reset and never reads it), and without reading, the bytes would block the next
 * request of the connection.
 *
 * @param idleTimeout milliseconds that the client may be silent; at most 30 seconds
 * @param onEnd called when the body has ended; not if the connection closes first
 */
export function drainBody(request: IncomingMessage, idleTimeout: number, onEnd: () => void = () => {}): void {
  if (hasEnded(request) || request.destroyed) {
    // The body is complete or will not arrive.
    request.resume()
    onEnd()
    return
  }
  const { socket } = request
  let remaining = MaxDrainedBytes
  const cleanUp = (): void => {
    clearTimeout(timer)
    request.off('data', onData).off('end', finish)
    socket.off('close', cleanUp)
  }
  const finish = (): void => {
    cleanUp()
    onEnd()
  }
  const closeConnection = (): void => {
    cleanUp()
    socket.destroy()
  }
  const onData = (chunk: Buffer): void => {
    remaining -= chunk.length
    if (remaining < 0) closeConnection()
    else timer.refresh()
  }
  const timer = setTimeout(closeConnection, Math.min(idleTimeout, MaxDrainSilenceMs)).unref()
  request.on('data', onData).on('end', finish).resume()
  socket.on('close', cleanUp)
}

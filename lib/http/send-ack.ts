import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Ack, ackFields } from '../protocol/ack.ts'
import { normalizeResponse } from './node-tuning/hidden-classes.ts'

/**
 * Sends an Ack and sees to what the client may still be sending. Does nothing where nobody is there to read it.
 * @param sessionId what is to be told of the session
 * @param idleTimeout milliseconds that the client may be silent in sending what nobody wants
 */
export function sendAck(
  request: IncomingMessage,
  response: ServerResponse,
  ack: Ack,
  sessionId: string | undefined,
  idleTimeout: number,
): void {
  // Somebody else may have answered meanwhile, a time-out's middleware perhaps: one answer is enough.
  if (response.headersSent || response.destroyed) {
    drainBody(request, idleTimeout)
    return
  }
  normalizeResponse(response)
  response.statusCode = ack.status
  for (const [name, value] of ackFields(ack, sessionId)) response.setHeader(name, value)
  if (ack.error?.code === 'stopping') {
    // Else a client that sends on would hold the server that is to stop.
    response.setHeader('Connection', 'close').end()
    return
  }
  if (request.complete) {
    request.resume()
    response.end()
    return
  }
  // An early answer is all in its head. Its end has to wait for the body's: there Node hangs up, if this is the connection's
  // last answer, and a client that is still sending would never read it.
  response.flushHeaders()
  drainBody(request, idleTimeout, () => response.end())
}

/** What may be read and thrown away of one body: more than the largest fragment of a Windows client, 13 MB. */
const MaxDrainedBytes = 16 * 1024 * 1024
/** How long its sender may be silent at most, in milliseconds; slow it may be. */
const MaxDrainSilenceMs = 30_000

/**
 * Deals with a body that nobody wants any more: the request was answered before its end. Closing at once would throw
 * the Ack away together with the connection (a peer that is still sending gets a reset and never reads it), and left
 * alone the bytes would stand between this request and the next. So they are read and dropped, within a limit; beyond it
 * the connection is closed.
 *
 * @param idleTimeout milliseconds that its sender may be silent, if fewer than half a minute
 * @param whenOver called when the body has ended; not if the connection does before
 */
export function drainBody(
  request: IncomingMessage,
  idleTimeout: number,
  whenOver: () => void = () => {},
): void {
  if (request.complete || request.destroyed) {
    // All is here already, if there was anything.
    request.resume()
    whenOver()
    return
  }
  const { socket } = request
  let left = MaxDrainedBytes
  const stop = (): void => {
    clearTimeout(timer)
    request.off('data', onData).off('end', end)
    socket.off('close', stop)
  }
  const end = (): void => {
    stop()
    whenOver()
  }
  const hangUp = (): void => {
    stop()
    socket.destroy()
  }
  const onData = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) hangUp()
    else timer.refresh()
  }
  const timer = setTimeout(hangUp, Math.min(idleTimeout, MaxDrainSilenceMs)).unref()
  request.on('data', onData).on('end', end).resume()
  socket.on('close', stop)
}

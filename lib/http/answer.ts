import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Ack, ackFields } from '../protocol/ack.ts'
import { discardBody } from './leftover.ts'
import { shareResponseShape } from './shape.ts'

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
    discardBody(request, idleTimeout)
    return
  }
  shareResponseShape(response)
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
  discardBody(request, idleTimeout, () => response.end())
}

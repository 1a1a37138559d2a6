import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Ack, ackFields } from '../protocol/ack.ts'
import { discardBody } from './leftover.ts'

/** Sends an Ack and sees to what the client may still be sending. Does nothing where nobody is there to read it. */
export function sendAck(request: IncomingMessage, response: ServerResponse, ack: Ack): void {
  // Somebody else may have answered meanwhile, a time-out's middleware perhaps: one answer is enough.
  if (!response.headersSent && !response.destroyed) {
    response.statusCode = ack.status
    for (const [name, value] of ackFields(ack)) response.setHeader(name, value)
    // Else a client that sends on would hold the server that is to stop.
    if (ack.error?.code === 'stopping') response.setHeader('Connection', 'close')
    response.end()
  }
  discardBody(request)
}

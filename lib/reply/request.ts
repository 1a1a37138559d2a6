import type { IncomingMessage, ServerResponse } from 'node:http'
import { requestTarget } from '../http/request.ts'
import type { BitsError } from '../protocol/errors.ts'
import { readReplyTarget } from '../protocol/reply-url.ts'

/** Whether a request is the download of a reply, below whatever mount path. */
export const isReplyRequest = (request: IncomingMessage): boolean =>
  (request.method === 'GET' || request.method === 'HEAD') &&
  readReplyTarget(requestTarget(request)) !== undefined

/** An ordinary answer of HTTP, for a download knows no Acks. */
export function refuseReply(response: ServerResponse, { code, status, challenge }: BitsError): void {
  if (response.headersSent) return
  // 500 is what begins an upload anew; here it would only mean: ask again.
  response.statusCode = code === 'session-not-found' ? 404 : status
  if (challenge !== undefined) response.setHeader('WWW-Authenticate', challenge)
  response.setHeader('Content-Length', 0)
  response.end()
}

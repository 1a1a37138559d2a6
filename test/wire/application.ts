/** A server application that is notified as by the BITS extension of IIS: it records each notification. */

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { serve } from '../support/server.ts'

export interface Notification {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

export interface Application {
  readonly url: string
  /** The received notifications, the oldest first. */
  readonly notifications: readonly Notification[]
}

type Respond = (response: ServerResponse, notification: Notification) => void | Promise<void>

/** Starts an application that reads the whole notification before it responds. */
export async function application(
  respond: Respond = (response) => void response.end(),
): Promise<Application> {
  const notifications: Notification[] = []
  const url = await serve(async (request, response) => {
    const notification = await read(request)
    notifications.push(notification)
    await respond(response, notification)
  })
  return { url: new URL('svc/handle', url).href, notifications }
}

async function read(request: IncomingMessage): Promise<Notification> {
  const { method = '', url: target = '', headers, rawHeaders } = request
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return { method, target, headers, rawHeaders, body: Buffer.concat(chunks) }
}

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
  /** What it was told, the oldest first. */
  readonly told: readonly Notification[]
}

type Reaction = (response: ServerResponse, told: Notification) => void | Promise<void>

/** An application that has read a notification whole before it reacts. */
export async function application(react: Reaction = (response) => void response.end()): Promise<Application> {
  const told: Notification[] = []
  const url = await serve(async (request, response) => {
    const notification = await read(request)
    told.push(notification)
    await react(response, notification)
  })
  return { url: new URL('svc/handle', url).href, told }
}

async function read(request: IncomingMessage): Promise<Notification> {
  const { method = '', url: target = '', headers, rawHeaders } = request
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return { method, target, headers, rawHeaders, body: Buffer.concat(chunks) }
}

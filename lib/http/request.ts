import type { IncomingMessage, Server } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { BitsPost } from '../protocol/headers.ts'
import { readReplyTarget } from '../protocol/reply-url.ts'

/** A request of Express or Connect: `url` is relative to the mount path, `originalUrl` is complete. */
export type MountedRequest = IncomingMessage & {
  readonly originalUrl?: string
  /** Set by Express; it honours `X-Forwarded-Proto` of a trusted proxy. */
  readonly protocol?: string
  /** Set by Express: the address of the client; it honours `X-Forwarded-For` of a trusted proxy. */
  readonly ip?: string | undefined
}

/** The request target as received. */
export const requestTarget = ({ originalUrl, url }: MountedRequest): string => originalUrl ?? url ?? ''

/** The complete URL that the client requested, as far as it is known behind a proxy. */
export function absoluteUrl(request: MountedRequest): string {
  const { socket, headers } = request
  const target = requestTarget(request)
  const [, host = headers.host, path = target] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(target) ?? []
  const scheme = request.protocol ?? ('encrypted' in socket ? 'https' : 'http')
  return `${scheme}://${isHost(host) ? host : 'localhost'}${path}`
}

/** The last host that was valid: usually all packets name the same one. */
let lastHost: string | undefined

/** Checks the Host field, because a part of an invalid one could be parsed as the path of the URL. */
function isHost(host: string | undefined): boolean {
  if (host === undefined) return false
  if (host === lastHost) return true
  if (/[/\\?#@]/.test(host) || !URL.canParse(`http://${host}`)) return false
  lastHost = host
  return true
}

/**
 * Whether a request is a BITS packet: by its method or, behind a proxy that rejects unknown methods, a POST
 * with `X-HTTP-Method-Override: BITS_POST`, which Microsoft's cloud server accepts too.
 */
export const isBitsPost = ({ method, headers }: IncomingMessage): boolean =>
  method === BitsPost || (method === 'POST' && headers['x-http-method-override'] === BitsPost)

/** Whether a request is the download of a reply, below any mount path. */
export const isReplyRequest = (request: IncomingMessage): boolean =>
  (request.method === 'GET' || request.method === 'HEAD') &&
  readReplyTarget(requestTarget(request)) !== undefined

/** Limit for reading the body of a control packet, in bytes; up to it the connection stays usable. */
const MaxControlBodyBytes = 64 * 1024

/**
 * Reads the body of a control packet, which must be empty, so that the connection stays usable. Closes the connection if the
 * body does not end within `idleTimeout`.
 * @returns whether the body is empty
 */
export async function drainControlBody(request: IncomingMessage, idleTimeout: number): Promise<boolean> {
  const timer = setTimeout(() => request.destroy(), idleTimeout).unref()
  // Loaded here, because few clients send such a body, and it takes 15 ms.
  const { default: getRawBody } = await import('raw-body')
  // Too long, broken, or read by other middleware: the rest is drained when the Ack is sent.
  const body = await getRawBody(request, { limit: MaxControlBodyBytes }).catch(() => undefined)
  clearTimeout(timer)
  return body?.length === 0
}

/**
 * The reason why a connection ended before its answer. By default Node allows 5 minutes for a request, even
 * while its bytes arrive: 13 MB at 300 kbit/s take longer, and the next attempt of the client would end at
 * the same byte. Node does not report that its time limit was the cause, so the message for the operator
 * names it.
 * @param startedAt when the request arrived, in milliseconds since 1970
 */
export function disconnectedError({ socket }: IncomingMessage, startedAt: number): BitsError {
  const { requestTimeout = 0 } = (socket as { server?: Partial<Server> }).server ?? {}
  const isTimedOut = requestTimeout > 0 && Date.now() - startedAt >= 0.9 * requestTimeout
  const message = isTimedOut
    ? 'server.requestTimeout of node:http ended the fragment: set it to 0; idleTimeout still limits silence'
    : undefined
  return new BitsError('disconnected', message)
}

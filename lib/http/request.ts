import type { IncomingMessage, Server } from 'node:http'
import getRawBody from 'raw-body'
import { BitsError } from '../protocol/errors.ts'
import { BitsPost } from '../protocol/headers.ts'

/** A request as Express and Connect hand it on: `url` below the mount path, `originalUrl` whole. */
export type MountedRequest = IncomingMessage & {
  readonly originalUrl?: string
  /** Express' own: it heeds what a trusted proxy says. */
  readonly protocol?: string
}

/** The request target as it came. */
export const requestTarget = ({ originalUrl, url }: MountedRequest): string => originalUrl ?? url ?? ''

/** The whole URL that a client asked for, as far as can be known here: behind a proxy, as that passes it on. */
export function absoluteUrl(request: MountedRequest): string {
  const { socket, headers } = request
  const target = requestTarget(request)
  const [, host = headers.host, path = target] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(target) ?? []
  const scheme = request.protocol ?? ('encrypted' in socket ? 'https' : 'http')
  return `${scheme}://${isHost(host) ? host : 'localhost'}${path}`
}

/** The last host that was found valid: most often all packets name the same one. */
let lastHost: string | undefined

/** Whatever stands in the field would else be a part of the path to whoever takes the URL apart. */
function isHost(host: string | undefined): boolean {
  if (host === undefined) return false
  if (host === lastHost) return true
  if (/[/\\?#@]/.test(host) || !URL.canParse(`http://${host}`)) return false
  lastHost = host
  return true
}

/**
 * Whether a request is a BITS packet: by its verb, or, behind a proxy that refuses verbs that it does not know, by a POST
 * that says so, as Microsoft's own cloud server takes it too.
 */
export const isBitsPost = ({ method, headers }: IncomingMessage): boolean =>
  method === BitsPost || (method === 'POST' && headers['x-http-method-override'] === BitsPost)

/** Bytes of a body that a control packet may be forgiven, so that its connection stays usable. */
const MaxControlBodyBytes = 64 * 1024

/** Reads away the body of a packet that has none by the rules; ends the connection if it does not come. */
export async function drainControlBody(request: IncomingMessage, idleTimeout: number): Promise<void> {
  const timer = setTimeout(() => request.destroy(), idleTimeout).unref()
  // Too long, cut off, or read by somebody before us: then what is left is dealt with behind the Ack.
  await getRawBody(request, { limit: MaxControlBodyBytes }).catch(() => {})
  clearTimeout(timer)
}

/**
 * Why a connection ended before its answer. Node itself gives every request 5 minutes, however busily its bytes come:
 * 13 MB over 300 kbit/s take longer, and the client's next try would end in the same place. The operator must learn of
 * that one, and Node does not say that it was it.
 * @param began when the request came, in milliseconds since 1970
 */
export function disconnectedError({ socket }: IncomingMessage, began: number): BitsError {
  const { requestTimeout = 0 } = (socket as { server?: Partial<Server> }).server ?? {}
  const outOfPatience = requestTimeout > 0 && Date.now() - began >= 0.9 * requestTimeout
  const message = outOfPatience
    ? 'server.requestTimeout of node:http cut the fragment off: set it to 0, idleTimeout guards against silence'
    : undefined
  return new BitsError('disconnected', message)
}

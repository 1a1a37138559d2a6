/** A proxy to the S3 gateway that can lose responses, or replace them by those of other services. */
import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import { withResolvers } from '../../../../support/promise.ts'
import { listen } from '../../../../support/server.ts'
import { bytesOf } from '../contract/fixture.ts'

export interface ProxiedRequest {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
}

/** A response in place of that of the gateway. */
export interface FakeResponse {
  readonly status: number
  /** Error code of S3, sent as an XML body; undefined: `body` is sent. */
  readonly code?: string
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The connection breaks after the body. */
  readonly breaks?: boolean
}

/**
 * What the proxy does with a request:
 * - `pass`: forwards it
 * - `lose response`: forwards it, and closes the connection in place of the response
 * - `lose`: closes the connection without forwarding it
 * - `hold`: neither forwards nor answers it
 * - a fake response, without forwarding the request, or `after` the gateway has processed it
 */
export type ProxyAction =
  | 'pass'
  | 'lose response'
  | 'lose'
  | 'hold'
  | FakeResponse
  | { readonly after: FakeResponse }

export interface FaultProxy {
  readonly url: URL
  /** All requests so far, in order. */
  readonly requests: readonly ProxiedRequest[]
  /** Resolves when a request is held. */
  readonly held: Promise<void>
  /** Resolves when the client has closed the connection of a request that is held. */
  readonly abandoned: Promise<void>
}

/**
 * @param gateway its URL
 * @param action called for each request
 */
export async function faultProxy(
  gateway: string,
  action: (request: ProxiedRequest) => ProxyAction,
): Promise<FaultProxy> {
  const requests: ProxiedRequest[] = []
  const held = withResolvers<void>()
  const abandoned = withResolvers<void>()
  const url = await listen(
    createServer(async (incoming, outgoing) => {
      const { method = '', headers } = incoming
      const proxied: ProxiedRequest = { method, url: new URL(incoming.url ?? '', gateway), headers }
      requests.push(proxied)
      const chosen = action(proxied)
      const body = await bytesOf(incoming)
      if (chosen === 'lose') return outgoing.destroy()
      if (chosen === 'hold') {
        outgoing.on('close', abandoned.resolve)
        return held.resolve()
      }
      if (typeof chosen === 'object' && 'status' in chosen) return respond(chosen)
      const forwarded = request(proxied.url, { method, headers, agent: false }, async (response) => {
        const bytes = await bytesOf(response)
        if (chosen === 'lose response') return outgoing.destroy()
        if (typeof chosen === 'object') return respond(chosen.after)
        outgoing.writeHead(response.statusCode ?? 0, response.headers).end(bytes)
      })
      forwarded.end(body)

      function respond({ status, code, body = '', headers = {}, breaks }: FakeResponse): void {
        outgoing.writeHead(status, headers)
        if (breaks) outgoing.write(body, () => outgoing.destroy())
        else outgoing.end(code ? `<?xml version="1.0"?>\n<Error><Code>${code}</Code></Error>` : body)
      }
    }),
  )
  return { url, requests, held: held.promise, abandoned: abandoned.promise }
}

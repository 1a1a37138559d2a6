/** A proxy to the S3 gateway that can lose responses, or replace them by those of other services. */

import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import { withResolvers } from '../../../../support/promise.ts'
import { listen } from '../../../../support/server.ts'
import { bytesOf } from '../contract/tested.ts'

/** A request as it came by. */
export interface Seen {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
}

/** An answer in place of the gateway's. */
export interface Instead {
  readonly status: number
  /** S3's code; none: `body` is the answer. */
  readonly code?: string
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The connection breaks behind the body. */
  readonly breaks?: boolean
}

/**
 * What becomes of a request: it is passed on; passed on, and its answer lost; lost itself; never answered; or answered
 * by somebody else, instead of the gateway or `after` it.
 */
export type Fate = 'pass' | 'lose answer' | 'lose' | 'hold' | Instead | { readonly after: Instead }

export interface Meddler {
  readonly url: URL
  /** All requests so far, in their order. */
  readonly seen: readonly Seen[]
  /** Resolves when a request is there that is held. */
  readonly held: Promise<void>
  /** Resolves when the client has left a request that is held. */
  readonly left: Promise<void>
}

/**
 * @param gateway its URL
 * @param fate is asked for each request
 */
export async function meddler(gateway: string, fate: (seen: Seen) => Fate): Promise<Meddler> {
  const seen: Seen[] = []
  const held = withResolvers<void>()
  const left = withResolvers<void>()
  const url = await listen(
    createServer(async (incoming, outgoing) => {
      const { method = '', headers } = incoming
      const one: Seen = { method, url: new URL(incoming.url ?? '', gateway), headers }
      seen.push(one)
      const now = fate(one)
      const body = await bytesOf(incoming)
      if (now === 'lose') return outgoing.destroy()
      if (now === 'hold') {
        outgoing.on('close', left.resolve)
        return held.resolve()
      }
      if (typeof now === 'object' && 'status' in now) return answer(now)
      const passed = request(one.url, { method, headers, agent: false }, async (told) => {
        const bytes = await bytesOf(told)
        if (now === 'lose answer') return outgoing.destroy()
        if (typeof now === 'object') return answer(now.after)
        outgoing.writeHead(told.statusCode ?? 0, told.headers).end(bytes)
      })
      passed.end(body)

      function answer({ status, code, body = '', headers = {}, breaks }: Instead): void {
        outgoing.writeHead(status, headers)
        if (breaks) outgoing.write(body, () => outgoing.destroy())
        else outgoing.end(code ? `<?xml version="1.0"?>\n<Error><Code>${code}</Code></Error>` : body)
      }
    }),
  )
  return { url, seen, held: held.promise, left: left.promise }
}

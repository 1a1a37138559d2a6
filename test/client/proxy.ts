/** A TCP proxy between a client and a server that breaks connections and delays bytes. */

import { connect, createServer, type Socket } from 'node:net'
import { listenRaw } from './fake-server.ts'

/** How many bytes of a connection pass in each direction before the proxy closes it. */
export interface LinkLimits {
  /** From the client to the server. */
  readonly up: number
  /** From the server to the client. */
  readonly down: number
  /** Whether it is reset; otherwise it is closed in the normal way. */
  readonly reset: boolean
  /** Called, and awaited, before each chunk is passed on. */
  readonly delay?: () => Promise<void> | undefined
}

export const unlimited: LinkLimits = {
  up: Number.POSITIVE_INFINITY,
  down: Number.POSITIVE_INFINITY,
  reset: false,
}

export interface FaultyLink {
  readonly url: URL
  /** Bytes that have passed on all connections. */
  readonly passed: { up: number; down: number }
  readonly connections: () => number
}

/** @param limitsOf called with the number of each connection, from 0 */
export async function faultyLink(
  server: URL,
  limitsOf: (connection: number) => LinkLimits,
): Promise<FaultyLink> {
  const passed = { up: 0, down: 0 }
  let connections = 0
  const url = await listenRaw(
    createServer({ noDelay: true }, (client) => {
      const { delay, reset, ...limits } = limitsOf(connections)
      connections += 1
      const far = connect({ port: Number(server.port), host: server.hostname, noDelay: true })
      const sides = [client, far]
      const end = (): void => {
        for (const side of sides) {
          if (reset) side.resetAndDestroy()
          else side.destroySoon()
        }
      }
      const pass = async (from: Socket, to: Socket, direction: 'up' | 'down'): Promise<void> => {
        let remaining = limits[direction]
        for await (const chunk of from) {
          const wait = delay?.()
          if (wait) await wait
          const part = chunk.subarray(0, remaining)
          remaining -= part.length
          passed[direction] += part.length
          await new Promise<void>((resolve) => to.write(part, () => resolve()))
          if (remaining <= 0) break
        }
        end()
      }
      for (const side of sides) side.on('error', () => {})
      // When one side fails, the other is closed, too.
      pass(client, far, 'up').catch(end)
      pass(far, client, 'down').catch(end)
    }),
  )
  return { url: new URL(server.pathname, url), passed, connections: () => connections }
}

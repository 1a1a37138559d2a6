/** A TCP proxy between a client and a server that breaks connections and delays bytes. */

import { connect, createServer, type Socket } from 'node:net'
import { listenRaw } from './fake-server.ts'

/** What happens to a connection: how many bytes pass in each direction before it breaks. */
export interface Fate {
  /** From the client to the server. */
  readonly up: number
  /** From the server to the client. */
  readonly down: number
  /** Whether it breaks by a reset; else it ends as if by the other side's wish. */
  readonly reset: boolean
  /** Called before each chunk is passed on; what it gives is awaited. */
  readonly delay?: () => Promise<void> | undefined
}

export const unharmed: Fate = { up: Number.POSITIVE_INFINITY, down: Number.POSITIVE_INFINITY, reset: false }

export interface Line {
  readonly url: URL
  /** Bytes that have passed on all connections. */
  readonly passed: { up: number; down: number }
  readonly connections: () => number
}

/** @param fate is asked for each connection */
export async function line(server: URL, fate: (connection: number) => Fate): Promise<Line> {
  const passed = { up: 0, down: 0 }
  let connections = 0
  const url = await listenRaw(
    createServer({ noDelay: true }, (client) => {
      const { delay, reset, ...limits } = fate(connections)
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
        let left = limits[direction]
        for await (const chunk of from) {
          const wait = delay?.()
          if (wait) await wait
          const part = chunk.subarray(0, left)
          left -= part.length
          passed[direction] += part.length
          await new Promise<void>((resolve) => to.write(part, () => resolve()))
          if (left <= 0) break
        }
        end()
      }
      for (const side of sides) side.on('error', () => {})
      // A side that breaks takes the other with it.
      pass(client, far, 'up').catch(end)
      pass(far, client, 'down').catch(end)
    }),
  )
  return { url: new URL(server.pathname, url), passed, connections: () => connections }
}

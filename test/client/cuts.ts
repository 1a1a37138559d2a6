/** Cuts the connection during an upload to our own middleware, in both directions, by close and by reset. */

import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { memoryStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { uploadServer } from '../support/server.ts'
import { faultyLink, type LinkLimits, unlimited } from './proxy.ts'

const file = noise(300)
/** Two fragments. */
const options: UploadOptions = { maxFragmentSize: 200, retryDelay: 1, maxRetryDelay: 1 }
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
/** Concurrent uploads. */
const Batch = 20

/** @param step bytes from one cut to the next */
export const cutEvery = (step: number): void =>
  it.each(['up', 'down'] as const)(
    `uploadFile: completes after a connection cut at byte 0, ${step}, ${2 * step}, … (direction: %s)`,
    async (direction) => {
      const store = memoryStore()
      const { url } = await uploadServer({ store, maxSessions: Number.POSITIVE_INFINITY })
      const upload = async (name: string, first: LinkLimits) => {
        // Only the first connection is cut.
        const {
          url: near,
          passed,
          connections,
        } = await faultyLink(url, (connection) => (connection ? unlimited : first))
        const result = await uploadFile(file, new URL(name, near), options)
        expect(result.size).toBe(300)
        expect(sha256(store.files.get(name) ?? Buffer.alloc(0))).toBe(sha256(file))
        return { passed, connections: connections() }
      }
      const { passed } = await upload('whole', unlimited)
      const length = passed[direction]
      expect(length).toBeGreaterThan(800)

      const cuts = Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step)
      for (let from = 0; from < cuts.length; from += Batch) {
        await Promise.all(
          cuts.slice(from, from + Batch).map(async (at) => {
            const reset = at % 2 === 0
            const { connections } = await upload(`${direction}-${at}`, {
              ...unlimited,
              [direction]: at,
              reset,
            })
            // A first request without an answer makes the client probe the port for TLS.
            expect(connections).toBeLessThanOrEqual(3)
          }),
        )
      }
    },
    120_000,
  )

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { bitsUpload } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'

/** A step of an upload. Positions and lengths are fractions of the file size. */
type Step =
  | { readonly kind: 'fragment'; readonly at: number; readonly length: number }
  | { readonly kind: 'next'; readonly length: number }
  | { readonly kind: 'cut'; readonly length: number; readonly after: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'ping' }

const fraction = fc.double({ min: 0, max: 1, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('fragment' as const), at: fraction, length: fraction }),
  { arbitrary: fc.record({ kind: fc.constant('next' as const), length: fraction }), weight: 2 },
  fc.record({ kind: fc.constant('cut' as const), length: fraction, after: fraction }),
  fc.constant({ kind: 'restart' as const }),
  fc.constant({ kind: 'ping' as const }),
)

it('Upload: publishes the whole file and returns true offsets for random packets and restarts', async () => {
  const directory = await temporaryDirectory()
  const open = () => bitsUpload({ store: directory, sweepEvery: 0 })
  let upload = open()
  const url = await serve((request, response) =>
    upload(request, response, () => response.writeHead(404).end()),
  )
  let run = 0

  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 300_000 }),
      fc.array(step, { maxLength: 12 }),
      async (size, steps) => {
        run += 1
        const name = `file-${run}`
        const file = noise(size, run)
        const client = new TestClient(new URL(name, url))
        expect((await client.create()).status).toBe(200)
        const part = join(directory, '.bits-sessions', `${client.sessionId}.part`)
        /** The offset of the last answer. Fragments that were cut off may have added bytes since. */
        let held = 0
        let done = false
        /**
         * Whether a fragment was cut off: the server may read it after the next packet, and take the session
         * from that.
         */
        let wasCutOff = false

        const check = async (first: number, end: number): Promise<void> => {
          const answer = await client.fragment(first, file.subarray(first, end), size)
          const now = received(answer)
          expect(now).toBeGreaterThanOrEqual(held)
          if (!wasCutOff || first > now) expect(answer.status).toBe(first > now ? 416 : 200)
          if (answer.status === 200) expect(now).toBeGreaterThanOrEqual(end)
          held = now
          done = held === size
          const bytes = await readFile(done ? join(directory, name) : part).catch(() => Buffer.alloc(0))
          // A fragment that was cut off may have added bytes since.
          expect(bytes.subarray(0, held).equals(file.subarray(0, held))).toBe(true)
          expect(bytes.equals(file.subarray(0, bytes.length))).toBe(true)
        }

        for (const { kind, ...more } of steps) {
          const { at = 0, length = 0, after = 0 } = more as { at?: number; length?: number; after?: number }
          if (kind === 'restart') {
            await upload.close({ grace: 0 })
            upload = open()
          }
          if (kind === 'ping') expect((await client.ping()).status).toBe(200)
          const first = kind === 'fragment' ? Math.floor(at * (size - 1)) : Math.min(held, size - 1)
          const end = Math.min(size, first + 1 + Math.floor(length * (size - first)))
          if (kind === 'fragment' || kind === 'next') await check(first, end)
          if (kind === 'cut' && !done) {
            wasCutOff = true
            const outgoing = begin(client.url, 'Fragment', {
              headers: client.range(first, end - first, size),
            })
            const answer = answerTo(outgoing).catch(() => {})
            // At least one byte is missing, so that the fragment is not complete.
            const sent = file.subarray(first, first + Math.floor(after * (end - first - 1)))
            await new Promise<void>((resolve) => outgoing.write(sent, () => resolve()))
            outgoing.destroy()
            await answer
          }
        }
        while (!done) await check(held, size)
        expect((await client.close()).status).toBe(200)
        expect((await readFile(join(directory, name))).equals(file)).toBe(true)
        client.agent.destroy()
      },
    ),
    { numRuns: 150 },
  )
})

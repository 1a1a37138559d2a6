/**
 * Uploads to our own middleware over connections that break at random and delay bytes, while the server is
 * restarted now and then: each upload ends with the right SHA-256.
 *
 *     LOSSY_UPLOADS=5000 npx vitest run --project system test/client/lossy     the long form
 *     LOSSY_SEED=…       npx vitest run --project system test/client/lossy     repeats a failed run
 */

import { createHash, randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setImmediate as tick } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { bitsUpload } from '../../lib/index.ts'
import { Random } from '../crash/random.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'
import { faultyLink, type LinkLimits } from './proxy.ts'

const seed = Number(process.env.LOSSY_SEED ?? randomInt(2 ** 31))
const uploads = Number(process.env.LOSSY_UPLOADS ?? 120)
/** Concurrent uploads. */
const Batch = 6

/** Draws the limits of a connection; one in ten has none. */
function draw(random: Random, mean: number): LinkLimits {
  const bytes = (average: number): number => Math.floor(-Math.log(1 - random.next()) * average)
  const isUnlimited = random.chance(0.1)
  return {
    up: isUnlimited ? Number.POSITIVE_INFINITY : bytes(mean),
    down: isUnlimited ? Number.POSITIVE_INFINITY : bytes(1000),
    reset: random.chance(0.5),
    delay: () => (random.chance(0.2) ? pause(random.below(5)) : undefined),
  }
}

/** Waits for the given number of turns of the event loop. */
async function pause(turns: number): Promise<void> {
  for (let i = 0; i < turns; i += 1) await tick()
}

const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

it(`uploadFile: delivers every file intact over connections that break at random (LOSSY_SEED=${seed})`, {
  timeout: 60_000 + uploads * 1000,
}, async () => {
  const directory = await temporaryDirectory()
  const sources = await temporaryDirectory()
  const open = () => bitsUpload({ store: directory, maxSessions: Number.POSITIVE_INFINITY, sweepEvery: 0 })
  let receiver = open()
  const url = await serve((request, response) => receiver(request, response, () => response.end()))
  onTestFinished(() => receiver.close({ grace: 0 }))
  const random = new Random(seed)
  let connections = 0

  const upload = async (index: number): Promise<void> => {
    const own = new Random(seed + index)
    // From a few bytes to a few megabytes.
    const size = Math.floor(Math.exp(own.next() * Math.log(4_000_000)))
    const bytes = noise(size, seed + index)
    const path = join(sources, `${index}.bin`)
    await writeFile(path, bytes)
    const mean = Math.max(2000, size / 4)
    const near = await faultyLink(url, () => draw(own, mean))
    const options = { retryDelay: 1, maxRetryDelay: 4, noProgressTimeout: 60_000 }
    const result = await uploadFile(path, new URL(`${index}.bin`, near.url), options)
    connections += near.connections()
    expect(result.size).toBe(size)
    expect(await sha256Of(join(directory, `${index}.bin`))).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    )
  }

  for (let from = 0; from < uploads; from += Batch) {
    const work = Promise.all(Array.from({ length: Batch }, (_, i) => upload(from + i)))
    if (random.chance(0.5)) {
      // The next receiver continues the sessions.
      const old = receiver
      receiver = open()
      await old.close({ grace: 0 })
    }
    await work
  }
  // Fewer connections would mean that none was broken.
  expect(connections).toBeGreaterThan(uploads * 2)
})

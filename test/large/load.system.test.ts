import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startServer } from '../support/process.ts'

const slowOnes = Number(process.env.LOAD_UPLOADS ?? 2000)
const fastOnes = 8
const fast = noise(24 * 1024 * 1024)
const slow = noise(200)

/** Creates a session and sends the first byte of its only fragment. */
async function rest(url: URL) {
  const protocols = { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' }
  const { headers } = await send(url, 'Create-Session', { headers: protocols })
  const outgoing = begin(url, 'Fragment', {
    headers: {
      'BITS-Session-Id': String(headers['bits-session-id']),
      'Content-Range': `bytes 0-${slow.length - 1}/${slow.length}`,
      'Content-Length': slow.length,
    },
  })
  const answer = answerTo(outgoing)
  await new Promise<void>((resolve) => outgoing.write(slow.subarray(0, 1), () => resolve()))
  return { outgoing, answer }
}

it(`bitsUpload: receives ${slowOnes} slow uploads, below 100 KiB of memory each, and ${fastOnes} fast ones`, async () => {
  const directory = await temporaryDirectory()
  const server = await startServer(directory)
  const before = await server.state()
  const trickling: Awaited<ReturnType<typeof rest>>[] = []
  for (let i = 0; i < slowOnes; i += 50) {
    const some = Array.from({ length: Math.min(50, slowOnes - i) }, (_, j) =>
      rest(new URL(`slow-${i + j}`, server.url)),
    )
    trickling.push(...(await Promise.all(some)))
  }
  const atRest = await server.state()
  const each = (atRest.resident - before.resident) / slowOnes
  console.log(`memory of an upload at rest: ${Math.round(each / 1024)} KiB`)
  expect(each).toBeLessThan(100 * 1024)

  // All trickle on, a byte at a time, while the fast ones are served.
  let at = 1
  const trickle = setInterval(() => {
    if (at < slow.length - 1) for (const { outgoing } of trickling) outgoing.write(slow.subarray(at, at + 1))
    at = Math.min(at + 1, slow.length - 1)
  }, 1000)
  const digest = createHash('sha256').update(fast).digest('hex')
  await Promise.all(
    Array.from({ length: fastOnes }, async (_, i) => {
      const client = new TestClient(new URL(`fast-${i}`, server.url))
      await client.create()
      for (let from = 0; from < fast.length; from += 4 * 1024 * 1024) {
        const answer = await client.fragment(from, fast.subarray(from, from + 4 * 1024 * 1024), fast.length)
        expect(answer.status).toBe(200)
      }
      await client.close()
      const stored = createHash('sha256')
      await pipeline(createReadStream(join(directory, `fast-${i}`)), stored)
      expect(stored.digest('hex')).toBe(digest)
    }),
  )
  clearInterval(trickle)
  const { delay } = await server.state()
  console.log(
    `event loop delay meanwhile: median ${delay.median.toFixed(1)} ms, p99 ${delay.p99.toFixed(1)} ms`,
  )

  for (const { outgoing } of trickling) outgoing.end(slow.subarray(at))
  for (const { answer } of trickling) expect(received(await answer)).toBe(slow.length)
  const after = await server.state()
  console.log(
    `memory after all: ${Math.round(after.resident / 1e6)} MB, before: ${Math.round(before.resident / 1e6)} MB`,
  )
}, 300_000)

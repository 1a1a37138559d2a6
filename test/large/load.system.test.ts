import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startServer } from '../support/process.ts'

const slowUploads = Number(process.env.LOAD_UPLOADS ?? 2000)
const fastUploads = 8
const fastFile = noise(24 * 1024 * 1024)
const slowFile = noise(200)

/** Creates a session and sends the first byte of its only fragment. */
async function beginSlowUpload(url: URL) {
  const protocols = { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' }
  const { headers } = await send(url, 'Create-Session', { headers: protocols })
  const outgoing = begin(url, 'Fragment', {
    headers: {
      'BITS-Session-Id': String(headers['bits-session-id']),
      'Content-Range': `bytes 0-${slowFile.length - 1}/${slowFile.length}`,
      'Content-Length': slowFile.length,
    },
  })
  const answer = answerTo(outgoing)
  await new Promise<void>((resolve) => outgoing.write(slowFile.subarray(0, 1), () => resolve()))
  return { outgoing, answer }
}

it(`bitsUpload: receives ${slowUploads} slow uploads, below 100 KiB of memory each, and ${fastUploads} fast ones`, async () => {
  const directory = await temporaryDirectory()
  const server = await startServer(directory)
  const before = await server.state()
  const slow: Awaited<ReturnType<typeof beginSlowUpload>>[] = []
  for (let i = 0; i < slowUploads; i += 50) {
    const some = Array.from({ length: Math.min(50, slowUploads - i) }, (_, j) =>
      beginSlowUpload(new URL(`slow-${i + j}`, server.url)),
    )
    slow.push(...(await Promise.all(some)))
  }
  const atRest = await server.state()
  const each = (atRest.resident - before.resident) / slowUploads
  console.log(`memory of an upload at rest: ${Math.round(each / 1024)} KiB`)
  expect(each).toBeLessThan(100 * 1024)

  // Every second each slow upload sends one byte, while the server receives the fast uploads.
  let at = 1
  const timer = setInterval(() => {
    if (at < slowFile.length - 1)
      for (const { outgoing } of slow) outgoing.write(slowFile.subarray(at, at + 1))
    at = Math.min(at + 1, slowFile.length - 1)
  }, 1000)
  const digest = createHash('sha256').update(fastFile).digest('hex')
  await Promise.all(
    Array.from({ length: fastUploads }, async (_, i) => {
      const client = new TestClient(new URL(`fast-${i}`, server.url))
      await client.create()
      for (let from = 0; from < fastFile.length; from += 4 * 1024 * 1024) {
        const answer = await client.fragment(
          from,
          fastFile.subarray(from, from + 4 * 1024 * 1024),
          fastFile.length,
        )
        expect(answer.status).toBe(200)
      }
      await client.close()
      const stored = createHash('sha256')
      await pipeline(createReadStream(join(directory, `fast-${i}`)), stored)
      expect(stored.digest('hex')).toBe(digest)
    }),
  )
  clearInterval(timer)
  const { delay } = await server.state()
  console.log(
    `event loop delay meanwhile: median ${delay.median.toFixed(1)} ms, p99 ${delay.p99.toFixed(1)} ms`,
  )

  for (const { outgoing } of slow) outgoing.end(slowFile.subarray(at))
  for (const { answer } of slow) expect(received(await answer)).toBe(slowFile.length)
  const after = await server.state()
  console.log(
    `memory after all: ${Math.round(after.resident / 1e6)} MB, before: ${Math.round(before.resident / 1e6)} MB`,
  )
}, 300_000)

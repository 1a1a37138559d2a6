import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startServer } from '../support/process.ts'

const KiB = 1024
const MiB = 1024 * KiB
const size = 3 * 1024 * MiB
/** Fragment sizes of Windows clients, from the smallest to the largest. */
const fragments = [5 * KiB, 13 * MiB, 64 * KiB, 1 * MiB, 128 * KiB, 13 * MiB, 4 * MiB, 7 * MiB + 1]
/**
 * Longer than any fragment, and not a multiple of a fragment's length, so that the ranges of the file differ.
 */
const source = noise(29 * MiB + 13)

it('bitsUpload: stores 3 GiB in fragments of 5 KiB to 13 MiB with less than 150 MB of memory', async () => {
  const directory = await temporaryDirectory()
  const server = await startServer(directory)
  const client = new TestClient(new URL('a.bin', server.url))
  const sent = createHash('sha256')
  await client.create()
  for (let at = 0, i = 0; at < size; i += 1) {
    const from = (i * 1_000_003) % (16 * MiB)
    const length = Math.min(size - at, fragments[i % fragments.length] ?? 0)
    const piece = source.subarray(from, from + length)
    sent.update(piece)
    const answer = await client.fragment(at, piece, size)
    at += length
    expect([answer.status, received(answer)]).toEqual([200, at])
  }
  expect((await client.close()).status).toBe(200)
  const { memory } = await server.state()
  const stored = createHash('sha256')
  await pipeline(createReadStream(join(directory, 'a.bin')), stored)
  expect(stored.digest('hex')).toBe(sent.digest('hex'))
  console.log(`peak memory of the server: ${Math.round(memory / 1e6)} MB`)
  expect(memory).toBeLessThan(150e6)
}, 600_000)

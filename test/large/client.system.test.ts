import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startServer } from '../support/process.ts'

const MiB = 1024 * 1024
const size = 512 * MiB
const program = fileURLToPath(new URL('../client/client-process.mjs', import.meta.url))

const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

it('uploadFile: sends 512 MiB in fragments of up to 13 MB with less than 120 MB of memory', async () => {
  const directory = await temporaryDirectory()
  const path = join(directory, 'source.bin')
  const file = await open(path, 'w')
  // The file has holes between blocks of bytes that differ from each other.
  for (let at = 0; at < size; at += 16 * MiB) await file.write(noise(MiB, at), 0, MiB, at)
  await file.truncate(size)
  await file.close()
  const server = await startServer(directory)

  const startedAt = performance.now()
  const client = fork(program, [path, new URL('a.bin', server.url).href, join(directory, 'job'), '13mb'])
  onTestFinished(() => void client.kill('SIGKILL'))
  const [{ memory, fragments }] = await once(client, 'message')
  const speed = size / (performance.now() - startedAt) / 1000
  console.log(
    `client: peak memory ${Math.round(memory / 1e6)} MB, ${fragments} fragments, ${Math.round(speed)} MB/s`,
  )
  expect(memory).toBeLessThan(120e6)
  expect(await sha256Of(join(directory, 'a.bin'))).toBe(await sha256Of(path))
}, 300_000)

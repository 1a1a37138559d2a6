import { createHash } from 'node:crypto'
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'
import { start, startIn } from './start.ts'

const file = noise(30_000)

it('reply.ts: replies with name, size and SHA-256, and stores nothing', async () => {
  const { example, directory } = await start('reply')
  const [printed] = await example.says(/http:\S+\/check\//)
  const { reply } = await uploadFile(file, new URL('a.bin', printed))
  const sha256 = createHash('sha256').update(file).digest('hex')
  expect(JSON.parse(String(reply?.data))).toEqual({ name: 'a.bin', size: 30_000, sha256 })
  expect(await readdir(join(directory, 'incoming'))).toEqual(['.bits-sessions'])
  expect(await sessionFileNames(join(directory, 'incoming/.bits-sessions'))).toEqual([])
})

it('log-shipper.ts: uploads and removes old logs, and retries failed ones in the next run', async () => {
  const logs = await temporaryDirectory()
  const old = new Date(Date.now() - 2 * 60 * 60 * 1000)
  for (const name of ['a.log', 'b.log', 'new.log', 'other.txt']) {
    await writeFile(join(logs, name), noise(1000, name.charCodeAt(0)))
    if (name !== 'new.log') await utimes(join(logs, name), old, old)
  }
  const { url, directory, upload } = await uploadServer()
  vi.stubEnv('GIVE_UP', '0')
  onTestFinished(() => void vi.unstubAllEnvs())
  const ship = async (to: URL) => {
    const program = startIn(logs, 'log-shipper', logs, to.href)
    return { code: await program.ended(), output: program.output }
  }
  const unreachable = await ship(new URL('http://127.0.0.1:1/'))
  expect([unreachable.code, unreachable.output]).toEqual([1, expect.stringContaining('ECONNREFUSED')])
  expect(await readdir(logs)).toContain('a.log')

  expect(await ship(url)).toMatchObject({
    code: 0,
    output: expect.stringContaining('b.log: shipped, 1000 bytes'),
  })
  expect((await readdir(logs)).sort()).toEqual(['.jobs', 'new.log', 'other.txt'])
  expect(await readdir(join(logs, '.jobs'))).toEqual([])
  expect((await readFile(join(directory, `${hostname()}-a.log`))).equals(noise(1000, 97))).toBe(true)
  expect((await upload.sweep()).open).toBe(0)
})

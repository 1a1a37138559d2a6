import { readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { serve, uploadServer } from '../support/server.ts'
import { startIn } from './start.ts'

it('client/log-shipper.ts: uploads and removes old logs, and retries failed ones in the next run', async () => {
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
    const program = startIn(logs, 'client/log-shipper', logs, to.href)
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

it('client/upload.mjs: pauses on SIGINT, resumes in the same session, and prints the reply', async () => {
  const [waiting, released] = [withResolvers<void>(), withResolvers<void>()]
  let fragments = 0
  const { url, upload } = await uploadServer({
    async authorize(_request, { type }) {
      if (type !== 'Fragment') return
      fragments += 1
      if (fragments !== 2) return
      waiting.resolve()
      await released.promise
    },
    onUpload: ({ size }) => `${size} bytes arrived`,
  })
  let created = 0
  upload.events.on('created', () => {
    created += 1
  })
  const directory = await temporaryDirectory()
  await writeFile(join(directory, 'a.bin'), noise(2_000_000))
  const target = new URL('a.bin', url).href
  const first = startIn(directory, 'client/upload', 'a.bin', target)
  await waiting.promise
  expect(await first.end('SIGINT')).toBe(1)
  expect(first.output).toMatch(/^Paused: /m)
  released.resolve()

  const second = startIn(directory, 'client/upload', 'a.bin', target)
  expect(await second.ended()).toBe(0)
  expect(second.output).toMatch(/^2000000 bytes sent\nReply: 2000000 bytes arrived\n$/m)
  expect(created).toBe(1)
  expect(await readdir(directory)).toEqual(['a.bin'])
})

it('client/relay.mjs: sends a file of a web server, but not a mixture of two versions', async () => {
  const web = await temporaryDirectory()
  const { url, directory } = await uploadServer({ overwrite: true })
  const bytes = noise(2_000_000)
  await writeFile(join(web, 'a.bin'), bytes)
  let replaceAt = Number.POSITIVE_INFINITY
  const origin = await serve((request, response) => {
    const [, first, last] = (/^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []).map(Number)
    const etag = Number(first) >= replaceAt ? '"2"' : '"1"'
    const headers = { ETag: etag, 'Content-Length': bytes.length }
    if (first === undefined || last === undefined) response.writeHead(200, headers).end()
    else if (request.headers['if-match'] !== etag) response.writeHead(412).end()
    else {
      const part = bytes.subarray(first, last + 1)
      response.writeHead(206, { ETag: etag, 'Content-Length': part.length }).end(part)
    }
  })
  const relay = async (name: string) => {
    const program = startIn(web, 'client/relay', new URL('a.bin', origin).href, new URL(name, url).href)
    return { code: await program.ended(), output: program.output }
  }
  expect(await relay('a.bin')).toEqual({ code: 0, output: '2000000 bytes sent\n' })
  expect((await readFile(join(directory, 'a.bin'))).equals(bytes)).toBe(true)

  replaceAt = 1
  expect(await relay('b.bin')).toEqual({ code: 1, output: expect.stringContaining('answers 412') })
  expect(await readdir(directory)).not.toContain('b.bin')
})

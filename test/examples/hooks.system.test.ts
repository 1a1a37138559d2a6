import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uploadFile as sendFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, hresult, received, TestClient } from '../support/client.ts'
import { sessionFileNames } from '../support/directory.ts'
import type { Program } from '../support/program.ts'
import { start, startIn } from './start.ts'
import { uploadFile } from './upload.ts'

const file = noise(30_000)

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const clientOf = async (example: Program, name: string): Promise<TestClient> =>
  new TestClient(new URL(name, await example.url()))

/** The names of the published files. */
const published = async (directory: string): Promise<string[]> =>
  (await readdir(join(directory, 'incoming'))).filter((name) => name !== '.bits-sessions')

const sessionFiles = (directory: string): Promise<string[]> =>
  sessionFileNames(join(directory, 'incoming/.bits-sessions'))

describe('hooks/names.ts', () => {
  it('publishes a log under another name, and keeps the requested name and the address', async () => {
    const { example, directory } = await start('hooks/names')
    const client = await clientOf(example, 'app.log')
    await uploadFile(client, file)
    const name = `${client.sessionId}.log`
    expect(await published(directory)).toEqual([name])
    expect(await readFile(join(directory, 'incoming', name))).toEqual(file)
    const [, address] = await example.says(/^app\.log from (\S+) is \{[\w-]+\}\.log$/m)
    expect(address).toMatch(/127\.0\.0\.1$/)
  })

  it('refuses other files, and logs above 50 MB', async () => {
    const { example, directory } = await start('hooks/names')
    const other = await (await clientOf(example, 'app.exe')).create()
    expect([other.status, hresult(other)]).toEqual([403, '0x80070005'])
    const client = await clientOf(example, 'large.log')
    await client.create()
    const large = await client.fragment(0, file, 50 * 1024 * 1024 + 1)
    expect([large.status, hresult(large)]).toEqual([500, '0x80200020'])
    expect((await client.fragment(0, file, 50 * 1024 * 1024)).status).toBe(200)
    expect(await published(directory)).toEqual([])
  })
})

describe('hooks/inspect.ts', () => {
  it('publishes a file that is not blocked, and refuses one that is blocked permanently', async () => {
    const { example, directory } = await start('hooks/inspect')
    const list = join(directory, 'blocklist.txt')
    await writeFile(list, `${sha256(noise(1000)).toUpperCase()}  malware.bin\n`)
    await uploadFile(await clientOf(example, 'a.bin'), file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
    await example.says(new RegExp(`^a\\.bin: 30000 bytes, SHA-256 ${sha256(file)}$`, 'm'))

    const client = await clientOf(example, 'b.bin')
    await client.create()
    const refuse = async () => {
      const { status, headers } = await client.fragment(0, noise(1000), 1000)
      expect([status, headers['bits-error-code'], headers['bits-error-context']]).toEqual([
        403,
        '0x80070005',
        '0x7',
      ])
    }
    await refuse()
    // The hook is not called again, although the file would pass now.
    await rm(list)
    await refuse()
    expect(await published(directory)).toEqual(['a.bin'])
    expect(await sessionFiles(directory)).toEqual([`${client.sessionId}.json`])
    await example.says(/^Refused: b\.bin is blocked$/m)
  })

  it('answers 500 without a blocklist, and publishes when the client sends the last fragment again', async () => {
    const { example, directory } = await start('hooks/inspect', 'list.txt')
    const client = await clientOf(example, 'a.bin')
    await client.create()
    const failed = await client.fragment(0, file, file.length)
    expect([failed.status, received(failed)]).toEqual([500, file.length])
    await example.says(/ENOENT.*list\.txt/)
    await writeFile(join(directory, 'list.txt'), '')
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    expect(await published(directory)).toEqual(['a.bin'])
  })
})

it('hooks/reply.ts: replies with name, size and SHA-256, and stores nothing', async () => {
  const { example, directory } = await start('hooks/reply')
  const [printed] = await example.says(/http:\S+\/check\//)
  const { reply } = await sendFile(file, new URL('a.bin', printed))
  expect(JSON.parse(String(reply?.data))).toEqual({ name: 'a.bin', size: 30_000, sha256: sha256(file) })
  expect(await published(directory)).toEqual([])
  expect(await sessionFiles(directory)).toEqual([])
})

it('hooks/memory.ts: receives a file and returns it to a GET', async () => {
  const { example } = await start('hooks/memory')
  const url = new URL('a.bin', await example.url())
  expect((await fetch(url)).status).toBe(404)
  await uploadFile(new TestClient(url), file)
  const answer = await fetch(url)
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(file)
  expect(answer.headers.get('content-type')).toBe('application/octet-stream')
})

describe('hooks/events.ts', () => {
  it('prints the events of uploads', async () => {
    const { example } = await start('hooks/events')
    await uploadFile(await clientOf(example, 'a.bin'), file)
    const client = await clientOf(example, 'b.bin')
    await client.create()
    await client.cancel()
    expect((await (await clientOf(example, 'x/c.bin')).create()).status).toBe(404)
    await example.says(/^Create-Session \/upload\/x\/c\.bin The folder 'x' does not exist/m)
    expect(example.output.match(/^[ab]\.bin: .*$/gm)).toEqual([
      'a.bin: created, 0 bytes',
      'a.bin: received, 10000 bytes',
      'a.bin: received, 20000 bytes',
      'a.bin: received, 30000 bytes',
      'a.bin: uploaded, 30000 bytes',
      'a.bin: closed, 30000 bytes',
      'b.bin: created, 0 bytes',
      'b.bin: cancelled, 0 bytes',
    ])
  })

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'completes a packet in progress after %s, and the next process continues the upload',
    async (signal) => {
      const { example, directory } = await start('hooks/events')
      const client = await clientOf(example, 'a.bin')
      await client.create()
      // After "100 Continue" the server handles the fragment.
      const fragment = begin(client.url, 'Fragment', {
        headers: { ...client.range(0, 20_000, file.length), Expect: '100-continue' },
      })
      const answer = answerTo(fragment)
      fragment.flushHeaders()
      await once(fragment, 'continue')
      fragment.write(file.subarray(0, 10_000))
      example.signal(signal)
      await example.says(/^Stopping$/m)
      fragment.end(file.subarray(10_000, 20_000))
      expect(received(await answer)).toBe(20_000)
      expect(await example.ended()).toBe(0)

      const next = startIn(directory, 'hooks/events')
      const resumed = await clientOf(next, 'a.bin')
      resumed.sessionId = client.sessionId
      expect((await resumed.fragment(20_000, file.subarray(20_000), file.length)).status).toBe(200)
      expect((await resumed.close()).status).toBe(200)
      expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
    },
  )

  it('refuses all packets and removes all sessions while uploads are disabled', async () => {
    const { example, directory } = await start('hooks/events')
    await example.says(/^Sweep: 0 sessions removed, 0 open$/m)
    const client = await clientOf(example, 'a.bin')
    await client.create()
    await client.fragment(0, file, 2 * file.length)
    const switchFile = join(directory, 'uploads-disabled')
    await writeFile(switchFile, '')
    const refused = await client.fragment(file.length, file, 2 * file.length)
    expect([refused.status, hresult(refused)]).toEqual([501, '0x80070005'])
    await rm(switchFile)
    expect((await client.ping()).status).toBe(200)
    expect(await example.end('SIGTERM')).toBe(0)

    await writeFile(switchFile, '')
    const next = startIn(directory, 'hooks/events')
    await next.says(/^a\.bin: expired, 30000 bytes\n(?:.*\n)*Sweep: 1 sessions removed, 0 open$/m)
    expect((await (await clientOf(next, 'a.bin')).ping()).status).toBe(501)
    expect(await sessionFiles(directory)).toEqual([])
  })
})

describe('hooks/server-application.ts', () => {
  it('publishes a file that the application accepts, and returns its answer as the reply', async () => {
    const { example, directory } = await start('hooks/server-application')
    const { reply } = await sendFile(file, new URL('a.xml', await example.url()))
    expect(JSON.parse(String(reply?.data))).toEqual({ order: '/upload/a.xml', sha256: sha256(file) })
    expect(await readFile(join(directory, 'incoming/a.xml'))).toEqual(file)
  })

  it('refuses a file permanently that the application answers with 403', async () => {
    const { example, directory } = await start('hooks/server-application')
    const url = new URL('a.exe', await example.url())
    await expect(sendFile(file, url)).rejects.toMatchObject({ code: 'application-refused', status: 403 })
    expect(example.output.match(/^Notified of .*$/gm)).toEqual(['Notified of /upload/a.exe'])
    expect(existsSync(join(directory, 'incoming/a.exe'))).toBe(false)
  })
})

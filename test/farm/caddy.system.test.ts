/**
 * Caddy is written in Go, whose HTTP client removes `Content-Length: 0` from every method but POST, PUT and
 * PATCH: control packets arrive with neither Content-Length nor Transfer-Encoding. Traefik and cloudflared do
 * the same.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RequestHandler } from 'express'
import { expect, it } from 'vitest'
import { command, start as startCommand } from '../cli/cli.ts'
import { describeCaddy, startCaddy } from '../support/caddy.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { type ServerSetup, sessionOn, start } from '../wire/setting.ts'
import { expectPartialFragmentStored, type Framing, file, half } from './fixture.ts'

/** Starts a server behind Caddy. The URL is that of the mount path at Caddy. */
async function startBehindCaddy({ before = [], ...setup }: ServerSetup = {}) {
  /** The packets that reach the server, with the fields that announce a body. */
  const seen: [type: string | undefined, length: string | undefined, encoding: string | undefined][] = []
  const record: RequestHandler = (request, _, next) => {
    seen.push([
      request.get('bits-packet-type'),
      request.get('content-length'),
      request.get('transfer-encoding'),
    ])
    next()
  }
  const server = await start({ ...setup, before: [record, ...before] })
  return { ...server, url: new URL('upload/', await startCaddy(server.url)), seen }
}

describeCaddy('Caddy with a plain reverse_proxy', () => {
  it('forwards an upload, whose control packets lose their Content-Length', async () => {
    const { url, directory, seen } = await startBehindCaddy()
    const client = new TestClient(new URL('a.bin', url))
    const answers = [
      await client.ping(),
      await client.create(),
      await client.fragment(0, file, file.length),
      await client.close(),
    ]
    expect(answers.map(({ status, headers }) => [status, headers['bits-packet-type']])).toEqual(
      answers.map(() => [200, 'Ack']),
    )
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(seen).toEqual([
      ['Ping', undefined, undefined],
      ['Create-Session', undefined, undefined],
      ['Fragment', String(file.length), undefined],
      ['Close-Session', undefined, undefined],
    ])
  })

  it('forwards Cancel-Session', async () => {
    const { url, upload } = await startBehindCaddy()
    const client = await sessionOn({ url })
    await client.fragment(0, file.subarray(0, half), file.length)
    expect((await client.cancel()).status).toBe(200)
    expect((await upload.sweep()).open).toBe(0)
  })

  it('forwards the uploads of send: a file, and an empty file', async () => {
    const { url, directory } = await startBehindCaddy()
    const here = await temporaryDirectory()
    await writeFile(join(here, 'a.bin'), file)
    await writeFile(join(here, 'empty.bin'), '')
    const sent = await command(here, 'send', '--give-up', '0', 'a.bin', 'empty.bin', url.href)
    expect([sent.code, sent.stderr]).toEqual([0, expect.stringMatching(/^2 files, /m)])
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    expect(await readFile(join(directory, 'empty.bin'))).toHaveLength(0)
  })

  it('causes no fault in doctor', async () => {
    const { url } = await startBehindCaddy()
    const here = await temporaryDirectory()
    const checked = await command(here, 'doctor', '--complete', new URL('doctor.bin', url).href)
    expect([checked.code, checked.stdout]).toEqual([0, expect.stringMatching(/^No faults$/m)])
  })

  it.each([
    ['400, as Windows does', 400, { 'BITS-Packet-Type': 'Ack', 'BITS-Error': '0x80070057' }],
    ['411, as the specification says', 411, { 'BITS-Packet-Type': 'Ack', 'BITS-Error': '0x80070057' }],
    ['411, without an Ack', 411, {}],
  ])(
    'is named by doctor and send before a server that requires Content-Length: %s',
    async (_, status, fields) => {
      const requireLength: RequestHandler = (request, response, next) => {
        if (request.get('content-length') === undefined) response.set(fields).status(status).end()
        else next()
      }
      const { url } = await startBehindCaddy({ before: [requireLength] })
      const here = await temporaryDirectory()
      await writeFile(join(here, 'a.bin'), file)
      const cause = /Proxies written in Go \(Caddy, Traefik, cloudflared\) remove Content-Length: 0/
      const checked = await command(here, 'doctor', url.href)
      expect([checked.code, checked.stdout]).toEqual([1, expect.stringMatching(cause)])
      expect(checked.stdout).toMatch(/^1 fault$/m)
      const sent = await command(here, 'send', 'a.bin', url.href)
      expect([sent.code, sent.stderr]).toEqual([1, expect.stringMatching(cause)])
    },
  )

  it('forwards an upload that SIGINT interrupts, and that jobs resume continues', async () => {
    const { url, directory, upload } = await startBehindCaddy({ maxFragmentSize: 10_000 })
    const here = await temporaryDirectory()
    await writeFile(join(here, 'a.bin'), file)
    const isHalf = new Promise<void>((resolve) => {
      upload.events.on('received', (report) => {
        if (report.received > half) resolve()
      })
    })
    const sending = startCommand(here, 'send', '--max-fragment', '5120', 'a.bin', url.href)
    expect(await Promise.race([isHalf, sending.ended()]), sending.output).toBeUndefined()
    expect(await sending.end('SIGINT')).toBe(3)
    let created = 0
    upload.events.on('created', () => {
      created += 1
    })
    const resumed = await command(here, 'jobs', 'resume')
    expect([resumed.code, resumed.stderr]).toEqual([0, expect.stringMatching(/^a\.bin: sent, the last /m)])
    expect(created).toBe(0)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  })

  it.each<Framing>(['length', 'chunks'])('forwards a partial fragment (framing: %s)', async (framing) => {
    await expectPartialFragmentStored(await startBehindCaddy(), framing)
  })
})

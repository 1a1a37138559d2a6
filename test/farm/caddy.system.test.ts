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
import { describeCaddy } from '../support/caddy.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { caddyExample as example } from './caddy-config.ts'
import { file, half, startBehind, statusWithoutDecision, without } from './fixture.ts'
import { describeExample } from './proxy-suite.ts'

describeExample(example)

describeCaddy('Caddy', () => {
  it('forwards the uploads of send: a file, and an empty file', async () => {
    const { url, directory } = await startBehind(example)
    const here = await temporaryDirectory()
    await writeFile(join(here, 'a.bin'), file)
    await writeFile(join(here, 'empty.bin'), '')
    const sent = await command(here, 'send', '--give-up', '0', 'a.bin', 'empty.bin', url.href)
    expect([sent.code, sent.stderr]).toEqual([0, expect.stringMatching(/^2 files, /m)])
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    expect(await readFile(join(directory, 'empty.bin'))).toHaveLength(0)
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
      const { url } = await startBehind(example, { before: [requireLength] })
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
    const { url, directory, upload } = await startBehind(example, { options: { maxFragmentSize: 10_000 } })
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

  it('answers 504 if it has a response_header_timeout that onUpload exceeds', async () => {
    const short = without(
      '127.0.0.1:8080\n}',
      '127.0.0.1:8080 {\n transport http {\n response_header_timeout 2s\n }\n }\n}',
    )
    expect(await statusWithoutDecision(example, short)).toBe(504)
  })
})

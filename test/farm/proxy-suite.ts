import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RequestHandler } from 'express'
import { expect, it } from 'vitest'
import { command } from '../cli/cli.ts'
import { startIn } from '../examples/start.ts'
import { uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { sessionOn } from '../wire/setting.ts'
import { NewConnectionClient } from './client.ts'
import {
  bodyFields,
  clientSeenByHook,
  expectPartialFragmentStored,
  type Framing,
  file,
  half,
  type Kind,
  packetsAfterReusedConnection,
  sendToFailingServer,
  startBehind,
  token,
} from './fixture.ts'
import type { ProxyExample } from './proxy-example.ts'

/** The largest fragment of Windows: 13 MB. */
const large = noise(13 * 1024 * 1024)

/** Shows what happens without a directive, or with another value, by directive. */
type Effects = Readonly<Record<string, (directive: string) => Promise<void>>>

/** Defines a test for each directive of a proxy's file. */
export function describeDirectives(
  { name, describe }: ProxyExample,
  directives: readonly string[],
  effects: Effects,
): void {
  describe(`${name} without a line of examples/proxies`, () => {
    it.each(Object.entries(effects))('needs the directive %s', (directive, effect) => effect(directive))

    it('has a test for each directive', () => {
      expect(Object.keys(effects).sort()).toEqual([...directives].sort())
    })
  })
}

/** Defines the tests that a proxy passes with its file of `examples/proxies`. */
export function describeExample(example: ProxyExample): void {
  example.describe(`${example.name} with the file of examples/proxies`, () => {
    it('forwards an upload in fragments, and the download of its reply', async () => {
      const reply = noise(100_000)
      const { url, directory } = await startBehind(example, { options: { onUpload: () => ({ reply }) } })
      const client = await sessionOn({ url })
      await client.fragment(0, file.subarray(0, half), file.length)
      const last = await client.fragment(half, file.subarray(half), file.length)
      expect([last.status, received(last)]).toEqual([200, file.length])
      expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
      const location = new URL(String(last.headers['bits-reply-url']), url)
      expect(location.host).toBe(url.host)
      const whole = await fetch(location)
      expect(Buffer.from(await whole.arrayBuffer()).equals(reply)).toBe(true)
      const range = await fetch(location, { headers: { Range: 'bytes=1000-1999' } })
      expect(range.status).toBe(206)
      expect(Buffer.from(await range.arrayBuffer()).equals(reply.subarray(1000, 2000))).toBe(true)
      expect((await client.close()).status).toBe(200)
    })

    it('forwards Cancel-Session', async () => {
      const { url, upload } = await startBehind(example)
      const client = await sessionOn({ url })
      await client.fragment(0, file.subarray(0, half), file.length)
      expect((await client.cancel()).status).toBe(200)
      expect((await upload.sweep()).open).toBe(0)
    })

    it('forwards a file name with special characters', async () => {
      const { url, directory } = await startBehind(example)
      const name = "ä 100%25 #1;a+b&c=[1],'x'.bin"
      await uploadFile(new TestClient(new URL(encodeURIComponent(name), url)), file)
      expect((await readFile(join(directory, name))).equals(file)).toBe(true)
    })

    it(`passes on packets without a body ${example.contentLength === undefined ? 'without' : 'with'} Content-Length`, async () => {
      expect(await bodyFields(example)).toEqual([
        ['Ping', example.contentLength, undefined],
        ['Create-Session', example.contentLength, undefined],
        ['Fragment', String(file.length), undefined],
        ['Close-Session', example.contentLength, undefined],
      ])
    })

    it(`writes names of header fields as ${example.fieldName}`, async () => {
      const names: string[] = []
      const record: RequestHandler = ({ rawHeaders }, _, next) => {
        names.push(...rawHeaders)
        next()
      }
      const { url } = await startBehind(example, { before: [record] })
      expect((await send(url, 'Ping')).rawHeaders).toContain(example.fieldName)
      expect(names).toContain(example.fieldName)
    })

    it('forwards packets as POST with X-HTTP-Method-Override', async () => {
      const { url } = await startBehind(example)
      const answer = await send(url, 'Ping', {
        method: 'POST',
        headers: { 'X-HTTP-Method-Override': 'BITS_POST' },
      })
      expect([answer.status, answer.headers['bits-packet-type']]).toEqual([200, 'Ack'])
    })

    it('forwards a fragment of 13 MiB with a header field of 48 KB', async () => {
      const { url, directory } = await startBehind(example)
      const client = await sessionOn({ url }, 'a.bin', token)
      const answer = await client.fragment(0, large, large.length)
      expect([answer.status, received(answer)]).toEqual([200, large.length])
      expect((await readFile(join(directory, 'a.bin'))).equals(large)).toBe(true)
    })

    // With `Connection: close`, Node would close the connection before it has read the body. If the proxy is
    // still writing then, the write fails, and the proxy returns 502 without reading the answer.
    it('returns 416 and the current offset for a fragment of 13 MiB after a gap', async () => {
      const { url } = await startBehind(example)
      // nginx sends `keep-alive`, but closes a connection whose request body it has not read to the end.
      const client = new NewConnectionClient(new URL('a.bin', url))
      await client.create()
      for (let round = 0; round < 10; round += 1) {
        const answer = await client.fragment(1, large, large.length + 1)
        expect([answer.status, received(answer)]).toEqual([416, 0])
      }
      expect((await client.fragment(0, file, file.length)).status).toBe(200)
    })

    it.each<Framing>(['length', 'chunks'])(
      'passes on the bytes of a fragment as they arrive, so that they are held when its connection breaks (framing: %s)',
      (framing) => expectPartialFragmentStored(example, framing),
    )

    it('waits for onUpload, and forwards other packets meanwhile', async () => {
      const [asked, decided] = [withResolvers<void>(), withResolvers<void>()]
      const onUpload = async (): Promise<void> => {
        asked.resolve()
        await decided.promise
      }
      const { url } = await startBehind(example, { options: { onUpload } })
      const client = await sessionOn({ url })
      const answer = client.fragment(0, file, file.length)
      await asked.promise
      expect((await send(client.url, 'Ping')).status).toBe(200)
      decided.resolve()
      expect((await answer).status).toBe(200)
    })

    it('terminates TLS, and passes the host, protocol and IP address of the client to hooks', async () => {
      const client = await clientSeenByHook(example)
      expect(client).toEqual({ host: 'files.example:8443', protocol: 'https', ips: ['127.0.0.1'] })
    })

    it.each<Kind>(['BITS_POST', 'BITS_POST with a body', 'POST'])(
      'returns 502 without trying the next server when the first one closes the connection: %s',
      async (kind) => {
        const { status, servers } = await sendToFailingServer(example, kind)
        expect(servers).toEqual(['failing'])
        expect(kind === 'BITS_POST with a body' ? [502, 'ECONNRESET'] : [502]).toContain(status)
      },
    )

    it('sends a packet once when the server closes a reused connection', async () => {
      const { packets, outcome } = await packetsAfterReusedConnection(example, (url) => new TestClient(url))
      expect(packets).toBe(2)
      expect([502, 'ECONNRESET']).toContain(outcome)
    })

    it('has no fault for doctor before the server of the example', async () => {
      const directory = await temporaryDirectory()
      const server = startIn(directory, 'proxies/server')
      const { url } = await example.start((await server.url()).host)
      const checked = await command(directory, 'doctor', '--complete', new URL('upload/', url).href)
      expect([checked.code, checked.stdout]).toEqual([0, expect.stringMatching(/^No faults$/m)])
      await server.says(new RegExp(`127.0.0.1 uploaded http://${url.host}/upload/bits-doctor-`))
    })
  })
}

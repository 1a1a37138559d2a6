import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { received, send, TestClient } from '../support/client.ts'
import { describeNginx } from '../support/nginx.ts'
import { withResolvers } from '../support/promise.ts'
import { sessionOn } from '../wire/setting.ts'
import { NewConnectionClient } from './client.ts'
import {
  clientSeenByHook,
  expectPartialFragmentStored,
  type Framing,
  file,
  sendToFailingServer,
  startBehindNginx,
  unchanged,
} from './fixture.ts'
import { directives } from './nginx-config.ts'

/** The largest fragment of Windows: 13 MB. */
const large = noise(13 * 1024 * 1024)

describeNginx('nginx configuration of the README', () => {
  it('forwards an upload', async () => {
    const { url, directory } = await startBehindNginx(unchanged)
    await uploadFile(new TestClient(new URL('a.bin', url)), file)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })

  it('forwards a fragment of 13 MiB', async () => {
    const { url, directory } = await startBehindNginx(unchanged)
    const client = await sessionOn({ url })
    const answer = await client.fragment(0, large, large.length)
    expect([answer.status, received(answer)]).toEqual([200, large.length])
    expect((await readFile(join(directory, 'a.bin'))).equals(large)).toBe(true)
  })

  // With `Connection: close`, Node would close the connection before it has read the body. If nginx is still
  // writing then, the write fails, and nginx returns 502 without reading the answer.
  it('returns 416 and the current offset for a fragment of 13 MiB after a gap', async () => {
    const { url } = await startBehindNginx(unchanged)
    // nginx sends `keep-alive`, but closes a connection whose request body it has not read to the end.
    const client = new NewConnectionClient(new URL('a.bin', url))
    await client.create()
    for (let round = 0; round < 20; round += 1) {
      const answer = await client.fragment(1, large, large.length + 1)
      expect([answer.status, received(answer)]).toEqual([416, 0])
    }
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
  })

  it.each<Framing>(['length', 'chunks'])('forwards a partial fragment (framing: %s)', async (framing) => {
    await expectPartialFragmentStored(await startBehindNginx(unchanged), framing)
  })

  it('waits for a pending onUpload, with a proxy_read_timeout of 300 s', async () => {
    const [asked, decided] = [withResolvers<void>(), withResolvers<void>()]
    const onUpload = async (): Promise<void> => {
      asked.resolve()
      await decided.promise
    }
    const { url } = await startBehindNginx(unchanged, { onUpload })
    const client = await sessionOn({ url })
    const answer = client.fragment(0, file, file.length)
    await asked.promise
    expect((await send(client.url, 'Ping')).status).toBe(200)
    decided.resolve()
    expect((await answer).status).toBe(200)
    // A client waits 5 minutes for an answer ([MC-BUP] 3.1.2.2).
    expect(directives).toContain(`proxy_read_timeout ${5 * 60}s`)
  })

  it('passes the host, protocol and IP address of the client to hooks', async () => {
    const client = await clientSeenByHook(unchanged)
    expect(client).toEqual({ host: 'files.example:8443', protocol: 'https', ips: ['127.0.0.1'] })
  })

  it('returns 502 without trying the next server when the first one closes the connection', async () => {
    expect(await sendToFailingServer(unchanged, 'BITS_POST')).toEqual({ status: 502, servers: ['failing'] })
  })
})

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Place, push } from '../crash/setting.ts'
import { uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { received, send, TestClient } from '../support/client.ts'
import { describeNginx } from '../support/nginx.ts'
import { next, sessionOn, signal } from '../wire/setting.ts'
import { HoppingClient } from './client.ts'
import { directives } from './recipe.ts'
import {
  asPrinted,
  beginFragment,
  behind,
  clientInHook,
  type Framing,
  file,
  half,
  meetDyingServer,
} from './setting.ts'

/** The largest fragment of Windows: 13 MB. */
const large = noise(13 * 1024 * 1024)

describeNginx('nginx recipe of the README', () => {
  it('forwards an upload', async () => {
    const { url, directory } = await behind(asPrinted)
    await uploadFile(new TestClient(new URL('a.bin', url)), file)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })

  it('forwards a fragment of 13 MiB', async () => {
    const { url, directory } = await behind(asPrinted)
    const client = await sessionOn({ url })
    const answer = await client.fragment(0, large, large.length)
    expect([answer.status, received(answer)]).toEqual([200, large.length])
    expect((await readFile(join(directory, 'a.bin'))).equals(large)).toBe(true)
  })

  // With `Connection: close`, Node would close the connection without having read the body. If nginx is still writing then,
  // the write fails, and nginx returns 502 before it looks at what there is to read.
  it('returns 416 and the current offset for a fragment of 13 MiB after a gap', async () => {
    const { url } = await behind(asPrinted)
    // nginx says `keep-alive`, and yet closes a connection of whose request it did not want the rest.
    const client = new HoppingClient(new URL('a.bin', url))
    await client.create()
    for (let round = 0; round < 20; round += 1) {
      const answer = await client.fragment(1, large, large.length + 1)
      expect([answer.status, received(answer)]).toEqual([416, 0])
    }
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
  })

  it.each<Framing>(['length', 'chunks'])('forwards a partial fragment (framing: %s)', async (framing) => {
    const { url, directory, upload } = await behind(asPrinted)
    const client = await sessionOn({ url })
    const outgoing = beginFragment(client, framing)
    await push(outgoing, file.subarray(0, half), new Place(directory).part(client), half)
    const interrupted = next(upload, 'interrupted')
    outgoing.destroy()
    expect((await interrupted).received).toBe(half)
    const rest = await client.fragment(half, file.subarray(half), file.length)
    expect([rest.status, received(rest)]).toEqual([200, file.length])
  })

  it('waits for a pending onUpload, with a proxy_read_timeout of 300 s', async () => {
    const [asked, decided] = [signal(), signal()]
    const onUpload = async (): Promise<void> => {
      asked.give()
      await decided.given
    }
    const { url } = await behind(asPrinted, { onUpload })
    const client = await sessionOn({ url })
    const answer = client.fragment(0, file, file.length)
    await asked.given
    expect((await send(client.url, 'Ping')).status).toBe(200)
    decided.give()
    expect((await answer).status).toBe(200)
    // 5 minutes are a client's patience ([MC-BUP] 3.1.2.2).
    expect(directives).toContain(`proxy_read_timeout ${5 * 60}s`)
  })

  it('passes the host, protocol and IP address of the client to hooks', async () => {
    const client = await clientInHook(asPrinted)
    expect(client).toEqual({ host: 'files.example:8443', protocol: 'https', ips: ['127.0.0.1'] })
  })

  it('returns 502 without trying the next server when the first one closes the connection', async () => {
    expect(await meetDyingServer(asPrinted, 'BITS_POST')).toEqual({ status: 502, servers: ['dying'] })
  })
})

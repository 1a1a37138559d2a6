/** Apps that replace their directory by an object service: only the store changes. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { BitsError, type BitsUploadOptions } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { type Answer, TestClient } from '../../support/client.ts'
import { allEngines, type Engine } from '../../support/places.ts'
import { uploadServer } from '../../support/server.ts'
import { download, replyUrlOf } from '../../wire/reply.ts'

const MiB = 2 ** 20
const file = noise(9 * MiB + 1)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function app(engine: Engine, options: Partial<BitsUploadOptions>) {
  const place = await engine.open()
  const { url, upload } = await uploadServer({ store: place.store({ partSize: '5mb' }), ...options })
  return { place, upload, client: new TestClient(new URL('a.bin', url)) }
}

/** Sends a file in fragments that fill no part; resolves to the last Ack. */
async function sendWith(client: TestClient): Promise<Answer> {
  expect((await client.create()).status).toBe(200)
  const length = 2 * MiB + 1
  let ack: Answer | undefined
  for (let first = 0; first < file.length; first += length) {
    ack = await client.fragment(first, file.subarray(first, first + length), file.length)
  }
  if (!ack) throw new Error('The file is empty')
  return ack
}

describe.each(allEngines)('Upload server with an object store on $name', (engine) => {
  engine.describe('onUpload', () => {
    it('reads the upload before publication, and its reply is served whole and by range', async () => {
      const text = 'line 1\n'.repeat(100_000)
      const digests: string[] = []
      const { place, client, upload } = await app(engine, {
        async onUpload({ name, read }) {
          const hash = createHash('sha256')
          for await (const chunk of read()) hash.update(chunk)
          digests.push(hash.digest('hex'))
          expect(await place.see(name)).toBeUndefined()
          return text
        },
      })
      const ack = await sendWith(client)
      expect([ack.status, digests]).toEqual([200, [sha256(file)]])
      const reply = replyUrlOf(ack, client)
      expect((await download(reply)).body.toString()).toBe(text)
      const range = await download(reply, { Range: 'bytes=699990-' })
      expect([range.status, range.headers['content-range']]).toEqual([206, 'bytes 699990-699999/700000'])
      expect(range.body.toString()).toBe(text.slice(-10))
      expect(sha256((await place.see('a.bin'))?.bytes ?? Buffer.of())).toBe(sha256(file))
      expect((await client.close()).status).toBe(200)
      expect((await download(reply)).status).toBe(404)
      expect(await upload.sweep()).toEqual({ expired: 0, open: 0 })
      expect([...(await place.keys()), ...(await place.unfinished())]).toEqual(['a.bin'])
    })

    it('rejects an upload permanently with 403, and its bytes are removed', async () => {
      const { place, client } = await app(engine, {
        onUpload() {
          throw new BitsError('application-refused', 'a virus')
        },
      })
      expect((await sendWith(client)).status).toBe(403)
      const again = await client.fragment(file.length - 1, file.subarray(-1), file.length)
      expect(again.status).toBe(403)
      expect((await place.keys()).filter((key) => key.includes('uploads') || key === 'a.bin')).toEqual([])
    })

    it('returns a reply without publishing the file when publish is false', async () => {
      const { place, client } = await app(engine, { onUpload: () => ({ reply: 'thanks', publish: false }) })
      const ack = await sendWith(client)
      expect((await download(replyUrlOf(ack, client))).body.toString()).toBe('thanks')
      await client.close()
      expect([...(await place.keys()), ...(await place.unfinished())]).toEqual([])
    })
  })

  engine.describe('commitOn: close', () => {
    it('publishes the file on Close-Session and not before', async () => {
      const { place, client } = await app(engine, { commitOn: 'close' })
      expect((await sendWith(client)).status).toBe(200)
      expect(await place.see('a.bin')).toBeUndefined()
      expect((await client.close()).status).toBe(200)
      expect(sha256((await place.see('a.bin'))?.bytes ?? Buffer.of())).toBe(sha256(file))
    })
  })
})

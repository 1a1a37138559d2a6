import { createServer, type IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { IncomingBody } from '../../lib/http/body.ts'
import { giveBack } from '../../lib/http/give-back.ts'
import { type Body, memoryStore, type Store } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

const KiB = 1024
const file = noise(300 * KiB)

/** A store that, against the contract, looks at a batch when it has asked for the next. */
function lookingBack() {
  const seen: { readonly chunk: Uint8Array; readonly length: number }[] = []
  const store = memoryStore()
  const append: Store['append'] = (session, body, options) => {
    async function* watched(): AsyncGenerator<readonly Uint8Array[]> {
      for await (const chunks of body as Body) {
        for (const chunk of chunks) seen.push({ chunk, length: chunk.length })
        yield chunks
      }
    }
    return store.append(session, watched(), options)
  }
  return { seen, store: { ...store, append }, files: store.files }
}

async function upload(client: TestClient): Promise<void> {
  await client.create()
  expect((await client.fragment(0, file, file.length)).status).toBe(200)
}

describe('giveBack()', () => {
  it('takes the memory out of chunks that have one of their own', () => {
    const chunks = [Buffer.from(new ArrayBuffer(64 * KiB)), new Uint8Array(16 * KiB)]
    giveBack(chunks)
    expect(chunks.map(({ length }) => length)).toEqual([0, 0])
    giveBack(chunks)
  })

  it('leaves alone what is small, shared, or a part of something', () => {
    const whole = Buffer.from(new ArrayBuffer(64 * KiB))
    const part = whole.subarray(0, 32 * KiB)
    const small = new Uint8Array(16 * KiB - 1)
    const shared = new Uint8Array(new SharedArrayBuffer(64 * KiB))
    giveBack([part, small, shared, Buffer.from('abc')])
    expect([part, small, shared, whole].map(({ length }) => length)).toEqual([
      32 * KiB,
      16 * KiB - 1,
      64 * KiB,
      64 * KiB,
    ])
  })
})

describe('a fragment', () => {
  it('is given to the store whole, and its memory is free when the store asks for more', async () => {
    const { seen, store, files } = lookingBack()
    const { url } = await uploadServer({ store })
    await upload(new TestClient(new URL('a.bin', url)))
    expect(files.get('a.bin')?.equals(file)).toBe(true)
    const large = seen.filter(({ length }) => length >= 16 * KiB)
    expect(large.length).toBeGreaterThan(0)
    expect(large.map(({ chunk }) => chunk.length)).toEqual(large.map(() => 0))
  })

  it('keeps its memory where somebody else listens: a meter, a checksum', async () => {
    const { seen, store, files } = lookingBack()
    const meter: Buffer[] = []
    const { url } = await uploadServer({
      store,
      authorize: (request: IncomingMessage) => {
        if (request.headers['bits-packet-type'] === 'Fragment') {
          request.on('data', (chunk: Buffer) => meter.push(chunk))
          request.pause()
        }
        return true
      },
    })
    await upload(new TestClient(new URL('a.bin', url)))
    expect(files.get('a.bin')?.equals(file)).toBe(true)
    expect(Buffer.concat(meter).equals(file)).toBe(true)
    expect(seen.map(({ chunk }) => chunk.length)).toEqual(seen.map(({ length }) => length))
  })

  it('keeps its memory when it does not come from the parser: it is whoever put it there’s', async () => {
    const chunk = noise(64 * KiB)
    const server = createServer((request, response) => {
      // A middleware that replaces bodies, decoded ones for example.
      const other = Object.assign(Object.create(request), { socket: request.socket }) as IncomingMessage
      const body = new IncomingBody(other, { length: chunk.length, idleTimeout: 1000 })
      const reading = (async () => {
        const sizes: number[] = []
        for await (const chunks of body.read()) sizes.push(...chunks.map(({ length }) => length))
        return sizes
      })()
      other.emit('data', chunk)
      other.emit('end')
      void reading.then((sizes) => response.end(JSON.stringify(sizes)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const sizes = await (await fetch(`http://127.0.0.1:${port}`)).json()
    server.close()
    expect(sizes).toEqual([64 * KiB])
    expect(chunk.length).toBe(64 * KiB)
  })
})

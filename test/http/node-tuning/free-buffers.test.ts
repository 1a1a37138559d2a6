import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { FragmentBody } from '../../../lib/http/fragment-body.ts'
import { freeBuffers } from '../../../lib/http/node-tuning/free-buffers.ts'
import { acceptBitsPost, type Body, memoryStore, type Store } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { TestClient } from '../../support/client.ts'
import { listen, uploadServer } from '../../support/server.ts'

const KiB = 1024
const file = noise(300 * KiB)

/** A store that, against the contract, keeps the chunks of a batch after it has requested the next one. */
function chunkKeepingStore() {
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

describe('freeBuffers', () => {
  it('detaches chunks that own their ArrayBuffer', () => {
    const chunks = [Buffer.from(new ArrayBuffer(64 * KiB)), new Uint8Array(16 * KiB)]
    freeBuffers(chunks)
    expect(chunks.map(({ length }) => length)).toEqual([0, 0])
    freeBuffers(chunks)
  })

  it('keeps chunks that are small, shared or part of a larger buffer', () => {
    const whole = Buffer.from(new ArrayBuffer(64 * KiB))
    const part = whole.subarray(0, 32 * KiB)
    const small = new Uint8Array(16 * KiB - 1)
    const shared = new Uint8Array(new SharedArrayBuffer(64 * KiB))
    freeBuffers([part, small, shared, Buffer.from('abc')])
    expect([part, small, shared, whole].map(({ length }) => length)).toEqual([
      32 * KiB,
      16 * KiB - 1,
      64 * KiB,
      64 * KiB,
    ])
  })
})

describe('Fragment memory', () => {
  it('is freed when the store requests the next batch', async () => {
    const { seen, store, files } = chunkKeepingStore()
    const { url } = await uploadServer({ store })
    await upload(new TestClient(new URL('a.bin', url)))
    expect(files.get('a.bin')?.equals(file)).toBe(true)
    const large = seen.filter(({ length }) => length >= 16 * KiB)
    expect(large.length).toBeGreaterThan(0)
    expect(large.map(({ chunk }) => chunk.length)).toEqual(large.map(() => 0))
  })

  it("is kept when another 'data' listener, such as a meter, reads the request", async () => {
    const { seen, store, files } = chunkKeepingStore()
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

  it('is kept when the chunk does not come from the HTTP parser', async () => {
    const chunk = noise(64 * KiB)
    const server = createServer((request, response) => {
      // Like a middleware that replaces a body, for example with a decoded one.
      const other = Object.assign(Object.create(request), { socket: request.socket }) as IncomingMessage
      const body = new FragmentBody(other, { length: chunk.length, idleTimeout: 1000 })
      const reading = (async () => {
        const sizes: number[] = []
        for await (const chunks of body) sizes.push(...chunks.map(({ length }) => length))
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

describe('Chunk with the BITS_POST method', () => {
  const head = 'BITS_POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n'
  const packet = head + 'x'.repeat(20_000)

  /** Sends a text to the server in one piece, waits for `isDone`, and then sends 20 more packets. */
  async function sendAndFree(server: Server, text: string, isDone: () => boolean): Promise<void> {
    acceptBitsPost(server)
    const url = await listen(server)
    const socket = connect(Number(url.port), '127.0.0.1').on('error', () => {})
    socket.write(text)
    socket.resume()
    await vi.waitUntil(isDone)
    socket.destroy()
    // freeBufferLater() frees after 16 chunks.
    for (let i = 0; i < 20; i += 1) {
      const other = connect(Number(url.port), '127.0.0.1')
      other.write(packet)
      await once(other, 'data')
      other.destroy()
    }
  }

  const answering = () =>
    createServer((request, response) => {
      request.on('end', () => response.end()).resume()
    })

  it('is freed after the parser has read it', async () => {
    const fetched: Uint8Array[] = []
    const server = answering()
    server.once('connection', (socket: Socket & { parser: { getCurrentBuffer(): Uint8Array } }) => {
      const { parser } = socket
      const { getCurrentBuffer } = Object.getPrototypeOf(parser)
      vi.spyOn(Object.getPrototypeOf(parser), 'getCurrentBuffer').mockImplementation(function (this: object) {
        const chunk = getCurrentBuffer.call(this)
        fetched.push(chunk)
        return chunk
      })
    })
    onTestFinished(() => void vi.restoreAllMocks())
    await sendAndFree(server, packet, () => fetched.length > 0)
    expect(fetched.some(({ length }) => length === 0)).toBe(true)
  })

  it("stays intact for a 'clientError' listener", async () => {
    const raw: Buffer[] = []
    const server = answering().on('clientError', (error: Error & { rawPacket: Buffer }, socket) => {
      raw.push(error.rawPacket)
      socket.destroy()
    })
    const text = `${packet}NONSENSE\r\n\r\n`
    await sendAndFree(server, text, () => raw.length > 0)
    expect(String(raw[0])).toBe(text)
  })

  it("stays intact for an 'upgrade' listener", async () => {
    const heads: Buffer[] = []
    const server = answering().on('upgrade', (_request, socket: Socket, rest: Buffer) => {
      heads.push(rest)
      socket.destroy()
    })
    const rest = 'y'.repeat(20_000)
    const text = `BITS_POST /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: z\r\n\r\n${rest}`
    await sendAndFree(server, text, () => heads.length > 0)
    expect(String(heads[0])).toBe(rest)
  })
})

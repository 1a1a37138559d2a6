import { EventEmitter, once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { connect as netConnect } from 'node:net'
import { join } from 'node:path'
import { format } from 'node:util'
import connect from 'connect'
import express, { type RequestHandler } from 'express'
import express4 from 'express4'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { drainBody } from '../../lib/http/send-ack.ts'
import {
  BitsError,
  type BitsUpload,
  type BitsUploadEvents,
  type BitsUploadOptions,
  bitsUpload,
  type FileSystem,
  fileStore,
  memoryStore,
  type Store,
} from '../../lib/index.ts'
import { UploadEvents } from '../../lib/sessions/events.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { noise } from '../support/bytes.ts'
import { type Answer, answerTo, begin, hresult, received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { listen, serve, uploadServer } from '../support/server.ts'

const file = noise(300_000)

/** The arguments of the next event of this name. */
const next = async <Event extends keyof BitsUploadEvents>(
  { events }: BitsUpload,
  event: Event,
): Promise<BitsUploadEvents[Event][0]> => {
  const message = withResolvers<BitsUploadEvents[Event][0]>()
  ;(events as UploadEvents).once(event as 'failed', message.resolve as () => void)
  return message.promise
}

/** A file store, and a promise that resolves when it has written bytes of a fragment. */
async function watchedStore() {
  const written = withResolvers<void>()
  const directory = await temporaryDirectory()
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    async writev(...args) {
      const bytes = await nodeFileSystem.writev(...args)
      written.resolve()
      return bytes
    },
  }
  return { directory, store: fileStore(directory, { fileSystem }), written: written.promise }
}

/** Starts a fragment and sends only these bytes of it. */
async function sendPartOf(client: TestClient, first: number, length: number, bytes: Buffer) {
  const outgoing = begin(client.url, 'Fragment', { headers: client.range(first, length, file.length) })
  const answer = answerTo(outgoing).catch((error: Error) => error)
  outgoing.write(bytes)
  await once(outgoing, 'socket')
  return { outgoing, answer }
}

describe('Body parser before the middleware', () => {
  const parsers = [
    ['express.raw', express.raw({ type: () => true, limit: '1mb' })],
    ['express.text', express.text({ type: () => true, limit: '1mb' })],
  ] as const

  it.each(parsers)("returns 500 and offset 0, and emits 'failed' for %s", async (_, parser) => {
    const upload = bitsUpload({ store: memoryStore() })
    const url = await serve(express().use(parser).use('/upload', upload))
    const client = new TestClient(new URL('upload/a.bin', url))
    await client.create()
    const failed = next(upload, 'failed')
    const answer = await client.fragment(0, file, file.length)
    expect(answer.status).toBe(500)
    expect(received(answer)).toBe(0)
    expect((await failed).error.message).toMatch(/body parser.*mount bitsUpload\(\) before it/)
    expect((await client.close()).status).toBe(200)
  })

  it('does not affect an upload when it ignores the body (express.json)', async () => {
    const store = memoryStore()
    const url = await serve(express().use(express.json()).use('/upload', bitsUpload({ store })))
    const client = new TestClient(new URL('upload/a.bin', url))
    await client.create()
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    expect(store.files.get('a.bin')?.equals(file)).toBe(true)
  })
})

describe('Failing hook or store', () => {
  const frameworks = [
    ['Express 5', (upload: BitsUpload) => express().use('/upload', upload)],
    ['Express 4', (upload: BitsUpload) => express4().use('/upload', upload)],
    ['Connect', (upload: BitsUpload) => connect().use('/upload', upload)],
  ] as const
  const broken = () => Promise.reject(new Error('thrown by the test'))
  const thrown = () => {
    throw new Error('thrown by the test')
  }

  const upTo = async (url: URL): Promise<Answer> => {
    const client = new TestClient(url)
    const created = await client.create()
    return created.status === 200 ? client.fragment(0, file, file.length) : created
  }

  describe.each(frameworks)('under %s', (_, mount) => {
    it.each([
      ['authorize rejects', { authorize: broken }, '500 undefined'],
      ['authorize throws', { authorize: thrown }, '500 undefined'],
      ['authorize returns a number', { authorize: (() => 5) as never }, '500 undefined'],
      ['onCreate rejects', { onCreate: broken }, '500 undefined'],
      ['onUpload rejects', { onUpload: broken }, '500 0x801901F4'],
      ['onUpload throws', { onUpload: thrown }, '500 0x801901F4'],
      ['enabled throws', { enabled: thrown }, '500 undefined'],
      [
        'onUpload rejects with application-refused',
        { onUpload: () => Promise.reject(new BitsError('application-refused', 'A virus')) },
        '403 0x80070005',
      ],
      [
        'onCreate rejects with access-denied',
        { onCreate: () => Promise.reject(new BitsError('access-denied')) },
        '403 0x80070005',
      ],
      ['enabled returns a promise', { enabled: (async () => false) as never }, '500 undefined'],
      ['onCreate returns false', { onCreate: () => false as never }, '500 undefined'],
      ['onCreate returns a misspelt limit', { onCreate: () => ({ maxsize: 5 }) as never }, '500 undefined'],
      [
        'onCreate returns an array as metadata',
        { onCreate: () => ({ metadata: ['x'] }) as never },
        '500 undefined',
      ],
      [
        'onCreate returns a string as overwrite',
        { onCreate: () => ({ overwrite: 'no' }) as never },
        '500 undefined',
      ],
      ['authorize returns an empty string', { authorize: () => '' }, '500 undefined'],
      ['onCreate returns an invalid maxSize', { onCreate: () => ({ maxSize: '2 apples' }) }, '500 undefined'],
      ['onCreate returns NaN as maxSize', { onCreate: () => ({ maxSize: Number.NaN }) }, '500 undefined'],
      ['onCreate returns a number as name', { onCreate: () => ({ name: 5 }) as never }, '500 undefined'],
      ['onCreate returns an invalid name', { onCreate: () => ({ name: '../a' }) }, '400 0x80070057'],
    ] satisfies [string, Partial<BitsUploadOptions>, string][])(
      'returns an error Ack when %s',
      async (_, options, expected) => {
        const upload = bitsUpload({ store: memoryStore(), ...options })
        const url = await serve(mount(upload))
        const answer = await upTo(new URL('upload/a.bin', url))
        expect(`${answer.status} ${hresult(answer)}`).toBe(expected)
        expect(answer.headers['bits-packet-type']).toBe('Ack')
      },
    )

    it.each(['create', 'load', 'append', 'publish'] as const)(
      'returns 500 without a BITS error when store.%s rejects',
      async (verb) => {
        const upload = bitsUpload({ store: { ...memoryStore(), [verb]: broken } })
        const failed = next(upload, 'failed')
        const url = await serve(mount(upload))
        const answer = await upTo(new URL('upload/a.bin', url))
        expect(answer.status).toBe(500)
        expect(hresult(answer)).toBeUndefined()
        expect((await failed).error.cause).toMatchObject({ message: 'thrown by the test' })
      },
    )
  })

  it('calls onUpload again on each retry, and returns 500 with context 0x7 until it resolves', async () => {
    const store = memoryStore()
    let times = 0
    const { url } = await uploadServer({
      store,
      async onUpload() {
        times += 1
        if (times < 3) throw new Error('not yet')
      },
    })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    for (const status of [500, 500, 200, 200]) {
      const answer = await client.fragment(0, file, file.length)
      expect(answer.status).toBe(status)
      expect(received(answer)).toBe(file.length)
      expect(answer.headers['bits-error-context']).toBe(status === 500 ? '0x7' : undefined)
      expect(store.files.has('a.bin')).toBe(status === 200)
    }
    expect(times).toBe(3)
  })

  it('returns 500 and the written offset when store.append fails halfway, and accepts a retry', async () => {
    const store = memoryStore()
    let failing = true
    const append: Store['append'] = (session, body, options) =>
      store.append(session, failing ? firstBatch(body) : body, options)
    async function* firstBatch(body: AsyncIterable<readonly Uint8Array[]>) {
      for await (const batch of body) {
        yield batch
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }
    }
    const { url } = await uploadServer({ store: { ...store, append } })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const answer = await client.fragment(0, file, file.length)
    expect(answer.status).toBe(500)
    expect(received(answer)).toBeGreaterThan(0)
    failing = false
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    expect(store.files.get('a.bin')?.equals(file)).toBe(true)
  })
})

describe('Client that stops sending', () => {
  it('leaves the received bytes and a released session after a disconnect', async () => {
    const { directory, store, written } = await watchedStore()
    const { upload, url } = await uploadServer({ store })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const interrupted = next(upload, 'interrupted')
    const { outgoing, answer } = await sendPartOf(client, 0, file.length, file.subarray(0, 1000))
    await written
    outgoing.destroy()
    const reason = { code: 'disconnected' }
    expect(await interrupted).toMatchObject({ name: 'a.bin', received: 1000, reason })
    await answer
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  })

  it("causes an 'interrupted' event with a hint when server.requestTimeout of Node expires", async () => {
    const upload = bitsUpload({ store: memoryStore() })
    const server = createServer(
      { requestTimeout: 250, headersTimeout: 250, connectionsCheckingInterval: 20 },
      express().use('/upload', upload),
    )
    const client = new TestClient(new URL('upload/a.bin', await listen(server)))
    await client.create()
    const interrupted = next(upload, 'interrupted')
    const { answer } = await sendPartOf(client, 0, file.length, file.subarray(0, 1000))
    const { received, reason } = await interrupted
    expect(received).toBe(1000)
    expect(reason.message).toMatch(/server\.requestTimeout .* set it to 0/)
    await answer
  })

  it('gets 408 for an incomplete head after headersTimeout of Node', async () => {
    const upload = bitsUpload({ store: memoryStore() })
    const server = createServer(
      { headersTimeout: 100, connectionsCheckingInterval: 20 },
      express().use('/upload', upload),
    )
    const { port, hostname } = await listen(server)
    for (const head of ['BITS', 'BITS_POST /upload/a HTTP/1.1\r\nBITS-Packet-Type: Ping\r\n']) {
      const socket = netConnect(Number(port), hostname)
      socket.write(head)
      const answers: Buffer[] = []
      for await (const chunk of socket) answers.push(chunk)
      expect(Buffer.concat(answers).toString()).toMatch(/^HTTP\/1\.1 408 /)
    }
  })

  it('does not block its session by a disconnect while a packet waits for the lock', async () => {
    const release = withResolvers<void>()
    const called = withResolvers<void>()
    const { upload, url } = await uploadServer({
      async onUpload() {
        called.resolve()
        await release.promise
      },
    })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const first = client.fragment(0, file, file.length)
    await called.promise
    const closed = begin(client.url, 'Close-Session', {
      headers: { 'BITS-Session-Id': client.sessionId, 'Content-Length': 0 },
    })
    closed.on('error', () => {})
    closed.end(() => closed.destroy())
    release.resolve()
    expect((await first).status).toBe(200)
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    await upload.close()
  })

  it('gets 408 after idleTimeout, and the received bytes are kept', async () => {
    const { upload, url } = await uploadServer({ idleTimeout: 40 })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const interrupted = next(upload, 'interrupted')
    const { outgoing, answer } = await sendPartOf(client, 0, file.length, file.subarray(0, 1000))
    expect(await interrupted).toMatchObject({ received: 1000, reason: { code: 'timeout' } })
    const ack = (await answer) as Answer
    expect(ack.status).toBe(408)
    expect(received(ack)).toBe(1000)
    outgoing.destroy()
  })
})

describe('Answer before the body was read', () => {
  const unknown = {
    'BITS-Session-Id': '{11111111-2222-3333-4444-555555555555}',
    'Content-Range': `bytes 0-${file.length - 1}/${file.length}`,
  }

  it('leaves the connection usable, and no byte of the body is taken for a request', async () => {
    const { upload, url } = await uploadServer()
    const client = new TestClient(new URL('a.bin', url))
    const trap = Buffer.alloc(file.length, 'BITS_POST /upload/trap HTTP/1.1\r\nHost: x\r\n\r\n')
    let packets = 0
    upload.events.on('refused', () => {
      packets += 1
    })
    for (let i = 1; i <= 5; i += 1) {
      const answer = await client.send('Fragment', { headers: unknown, body: trap })
      expect(hresult(answer)).toBe('0x8020001F')
      expect((await client.ping()).status).toBe(200)
      expect(packets).toBe(i)
    }
    expect(Object.values(client.agent.freeSockets).flat()).toHaveLength(1)
  })

  it('closes the connection when the body is too long to drain', async () => {
    const { url } = await uploadServer()
    const socket = netConnect(Number(url.port), url.hostname)
    const fields = {
      Host: url.host,
      'BITS-Packet-Type': 'Fragment',
      ...unknown,
      'Content-Range': `bytes 0-${2 ** 40 - 1}/${2 ** 40}`,
      'Content-Length': 2 ** 40,
    }
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`BITS_POST /upload/a.bin HTTP/1.1\r\n${head.join('')}\r\n`)
    const [answer] = await once(socket, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 500 /)
    // After the Ack the connection still accepts bytes: as many as a fragment of Windows may have, and no
    // more.
    const closed = new Promise((resolve) => socket.on('close', resolve).on('error', () => {}))
    const chunk = Buffer.alloc(1024 * 1024)
    let accepted = 0
    const writeNext = (error?: Error | null): void => {
      if (error || socket.destroyed) return
      accepted += 1
      socket.write(chunk, writeNext)
    }
    writeNext()
    await closed
    expect(accepted).toBeGreaterThan(13)
    expect(accepted).toBeLessThan(40)
  })

  it.each([
    ['413 for a fragment above maxFragmentSize', { maxFragmentSize: 1000 }, 413, undefined],
    ['500 0x80200020 for a total above maxSize', { maxSize: 1000 }, 500, '0x80200020'],
  ])('is %s, and the next packet is answered', async (_, options, status, code) => {
    const { url } = await uploadServer(options)
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const answer = await client.fragment(0, file, file.length)
    expect([answer.status, hresult(answer), received(answer)]).toEqual([status, code, 0])
    expect((await client.ping()).status).toBe(200)
  })

  it('drains the body of a control packet, or closes the connection after idleTimeout', async () => {
    const { url } = await uploadServer({ idleTimeout: 40 })
    const client = new TestClient(new URL('a.bin', url))
    const answer = await client.send('Ping', { body: 'hello' })
    expect([answer.status, hresult(answer)]).toEqual([400, '0x80070057'])
    expect((await client.send('Close-Session', { body: noise(200_000) })).status).toBe(400)
    expect((await client.ping()).status).toBe(200)
    const silent = begin(client.url, 'Ping', { headers: { 'Content-Length': 5 } })
    silent.write('abc')
    await expect(answerTo(silent)).rejects.toMatchObject({ code: 'ECONNRESET' })
  })
})

describe('Answer to a client that is still sending', () => {
  it('is sent after the last byte of a fragment that the server holds already', async () => {
    const { url } = await uploadServer()
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    await client.fragment(0, file.subarray(0, 200_000), file.length)
    await client.fragment(200_000, file.subarray(200_000), file.length)
    for (const first of [0, 200_000]) {
      const { outgoing, answer } = await sendPartOf(
        client,
        first,
        100_000,
        file.subarray(first, first + 1000),
      )
      let answered = false
      void answer.then(() => {
        answered = true
      })
      // Packets of other sessions are answered meanwhile, so the server had time to answer.
      await new TestClient(new URL('b.bin', url)).create()
      await new TestClient(new URL('c.bin', url)).create()
      expect(answered).toBe(false)
      outgoing.end(file.subarray(first + 1000, first + 100_000))
      expect(((await answer) as Answer).status).toBe(200)
    }
  })

  it('closes the connection only after the whole body, with Connection: close', async () => {
    const { url } = await uploadServer()
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const length = 8 * 1024 * 1024
    const range = client.range(1000, length, 2 * length)
    const fields = Object.entries(range).map(([name, value]) => `${name}: ${value}\r\n`)
    const socket = netConnect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(
      `BITS_POST ${client.url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: close\r\n` +
        `BITS-Packet-Type: Fragment\r\n${fields.join('')}\r\n`,
    )
    const [early] = (await once(socket, 'data')) as [Buffer]
    expect(early.toString()).toMatch(/^HTTP\/1.1 416 /)
    const piece = Buffer.alloc(1024 * 1024)
    for (let sent = 0; sent < length; sent += piece.length) {
      await new Promise<void>((resolve, reject) => {
        socket.write(piece, (error) => (error ? reject(error) : resolve()))
      })
    }
    // The server closes the connection with FIN, not with a reset.
    await once(socket.resume(), 'end')
  })

  it('closes the connection after 30 s without bytes, and not while bytes arrive', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const destroyed: number[] = []
    const request = Object.assign(new EventEmitter(), {
      destroyed: false,
      complete: false,
      resume: () => request,
      socket: Object.assign(new EventEmitter(), { destroy: () => destroyed.push(Date.now()) }),
    })
    const start = Date.now()
    drainBody(request as unknown as IncomingMessage, 120_000)
    for (let i = 0; i < 20; i += 1) {
      vi.advanceTimersByTime(29_000)
      request.emit('data', Buffer.alloc(1000))
    }
    expect(destroyed).toEqual([])
    vi.advanceTimersByTime(30_000)
    expect(destroyed).toEqual([start + 20 * 29_000 + 30_000])
    expect([...request.eventNames(), ...request.socket.eventNames()]).toEqual([])
  })
})

it('Fragment: is not interrupted by Cancel-Session from another user or at another path', async () => {
  const { store, written } = await watchedStore()
  const { url } = await uploadServer({ store, authorize: ({ headers }) => String(headers['x-user']) })
  const alice = new TestClient(new URL('a.bin', url), { 'X-User': 'alice' })
  await alice.create()
  const { outgoing, answer } = await sendPartOf(alice, 0, file.length, file.subarray(0, 1000))
  await written
  const bob = new TestClient(new URL('a.bin', url), { 'X-User': 'bob' })
  const elsewhere = new TestClient(new URL('b.bin', url), { 'X-User': 'alice' })
  for (const other of [bob, elsewhere]) {
    other.sessionId = alice.sessionId
    expect(hresult(await other.cancel())).toBe('0x8020001F')
  }
  outgoing.end(file.subarray(1000))
  expect(((await answer) as Answer).status).toBe(200)
})

describe('close()', () => {
  it('does not wait for a hook that never settles, and rejects a grace that is no number', async () => {
    const called = withResolvers<void>()
    const upload = bitsUpload({
      store: memoryStore(),
      onCreate: () => {
        called.resolve()
        return new Promise<never>(() => {})
      },
    })
    const client = new TestClient(new URL('upload/a.bin', await serve(express().use('/upload', upload))))
    const hanging = client.create().catch(() => {})
    await called.promise
    await upload.close({ grace: 0 })
    await expect(upload.close({ grace: 'x' as never })).rejects.toThrow(TypeError)
    client.agent.destroy()
    await hanging
  })

  it('sends Connection: close with answers to later packets', async () => {
    const { upload, url } = await uploadServer()
    await upload.close()
    expect((await send(new URL('a.bin', url), 'Ping')).headers.connection).toBe('close')
  })

  it('completes running packets, and returns 503 to new ones', async () => {
    const { upload, url, directory } = await uploadServer()
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const { outgoing, answer } = await sendPartOf(client, 0, file.length, file.subarray(0, 1000))
    // The answer to a Ping on a second connection shows that the head of the fragment was read.
    await send(client.url, 'Ping')
    const closed = upload.close()
    expect((await send(client.url, 'Ping')).status).toBe(503)
    outgoing.end(file.subarray(1000))
    expect(((await answer) as Answer).status).toBe(200)
    await closed
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  })

  it('interrupts packets with 503 after the grace period, and keeps the received bytes', async () => {
    const { directory, store, written } = await watchedStore()
    const { upload, url } = await uploadServer({ store })
    const client = new TestClient(new URL('a.bin', url))
    await client.create()
    const { outgoing, answer } = await sendPartOf(client, 0, file.length, file.subarray(0, 1000))
    await written
    await upload.close({ grace: 0 })
    const ack = (await answer) as Answer
    expect(ack.status).toBe(503)
    expect(received(ack)).toBe(1000)
    outgoing.destroy()
    const again = bitsUpload({ store: directory })
    const next = new TestClient(new URL('upload/a.bin', await serve(express().use('/upload', again))))
    next.sessionId = client.sessionId
    expect((await next.fragment(1000, file.subarray(1000), file.length)).status).toBe(200)
  })
})

const thrown = (): never => {
  throw new Error('thrown by the test')
}

const report = { id: '{}', name: 'a', path: '/a', received: 0, total: 0 }

it('Upload events: prints the error of a listener, and calls the other listeners', async () => {
  const print = vi.spyOn(console, 'error').mockImplementation(() => {})
  onTestFinished(() => print.mockRestore())
  const events = new UploadEvents()
  const calls: string[] = []
  const errors = [new Error('thrown by the test'), new Error('rejected by the test')]
  events.on('closed', () => {
    throw errors[0]
  })
  events.on('closed', async () => {
    throw errors[1]
  })
  events.once('closed', ({ name }) => calls.push(name))
  events.emitEvent('closed', report)
  events.emitEvent('closed', report)
  await vi.waitUntil(() => print.mock.calls.length > 1)
  expect(print.mock.calls.map(([, error]) => error)).toEqual(errors)
  expect(String(print.mock.calls[0]?.[0])).toContain("a listener of the event 'closed' threw an error")
  expect(calls).toEqual(['a'])
})

it('Upload events: listeners that throw change no answer, and their errors are printed', async () => {
  const print = vi.spyOn(console, 'error').mockImplementation(() => {})
  onTestFinished(() => print.mockRestore())
  const { upload, url } = await uploadServer()
  const events = ['created', 'received', 'uploaded', 'closed', 'refused'] as const
  for (const event of events) upload.events.on(event, thrown)
  const client = new TestClient(new URL('a.bin', url))
  const answers = [
    await client.create(),
    await client.fragment(0, Buffer.from('hello'), 5),
    await client.close(),
    await client.create(),
  ]
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 403])
  // All are thrown at one place, so that they have one cause.
  expect(print).toHaveBeenCalledTimes(1)
  expect(format(...(print.mock.calls[0] ?? []))).toMatch(
    /a listener of the event 'created' threw an error: Error: thrown by the test\n +at .*no-hang\.test\.ts/,
  )
})

describe('Event failed without a listener', () => {
  /** Emits failures, and returns the lines printed to the console. */
  function setup() {
    vi.useFakeTimers({ toFake: ['performance'] })
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => {
      print.mockRestore()
      vi.useRealTimers()
    })
    const events = new UploadEvents()
    const cause = new Error('EIO: i/o error')
    const fail = (error = new BitsError('store-failed', undefined, { cause })) =>
      events.emitEvent('failed', { error, type: 'Fragment', target: '/upload/a.bin', sessionId: '{A}' })
    return { events, fail, print }
  }

  it('is printed to the console with its packet and its cause, each cause once a minute', () => {
    const { fail, print } = setup()
    for (let i = 0; i < 1000; i += 1) fail()
    expect(print).toHaveBeenCalledTimes(1)
    const [text, error] = print.mock.calls[0] as [string, BitsError]
    expect(text).toContain('Fragment of /upload/a.bin failed, session {A}')
    expect(error.cause).toMatchObject({ message: 'EIO: i/o error' })
    fail(new BitsError('disk-full'))
    expect(print).toHaveBeenCalledTimes(2)
    vi.advanceTimersByTime(60_000)
    fail()
    expect(print).toHaveBeenCalledTimes(3)
    expect(print.mock.calls[2]?.[0]).toContain('(and 999 more of this cause since the last message)')
  })

  it('is not printed if there is a listener', () => {
    const { events, fail, print } = setup()
    const listener = vi.fn()
    events.on('failed', listener)
    fail()
    expect(listener).toHaveBeenCalledTimes(1)
    expect(print).not.toHaveBeenCalled()
  })

  it.each<[fault: string, type: string, options: Partial<BitsUploadOptions>, app?: RequestHandler]>([
    ['authorize', 'Ping', { authorize: thrown }],
    ['onCreate', 'Create-Session', { onCreate: thrown }],
    ['onUpload', 'Fragment', { onUpload: thrown }],
    ['enabled', 'Ping', { enabled: thrown }],
    ['a store', 'Create-Session', { store: { ...memoryStore(), create: thrown } }],
    ['a body parser in front', 'Fragment', {}, express.raw({ type: () => true })],
  ])('is printed for %s at fault, with its cause and stack', async (_, type, options, parser) => {
    const { print } = setup()
    const upload = bitsUpload({ store: memoryStore(), ...options })
    const app = express()
    if (parser) app.use(parser)
    const client = new TestClient(new URL('upload/a.bin', await serve(app.use('/upload', upload))))
    if (type === 'Ping') expect((await client.ping()).status).toBe(500)
    else if (type === 'Create-Session') expect((await client.create()).status).toBe(500)
    else {
      await client.create()
      expect((await client.fragment(0, Buffer.from('hello'), 5)).status).toBe(500)
    }
    expect(print).toHaveBeenCalledTimes(1)
    // As the console shows it.
    const printed = format(...(print.mock.calls[0] ?? []))
    expect(printed).toContain(`${type} of /upload/a.bin failed`)
    if (parser) expect(printed).toMatch(/body parser.*mount bitsUpload\(\) before it[\s\S]*^ +at .*lib/m)
    else expect(printed).toMatch(/\[cause\]: Error: thrown by the test\n +at .*no-hang\.test\.ts/)
  })

  it('is printed for a directory that cannot be created', async () => {
    const { print } = setup()
    const blocked = join(await temporaryDirectory(), 'file')
    await writeFile(blocked, '')
    const upload = bitsUpload({ store: join(blocked, 'uploads') })
    const client = new TestClient(new URL('upload/a.bin', await serve(express().use('/upload', upload))))
    expect((await client.create()).status).toBe(500)
    expect(print).toHaveBeenCalled()
    expect(String(print.mock.calls[0]?.[0])).toContain('Create-Session of /upload/a.bin failed')
    expect(print.mock.calls[0]?.[1]).toMatchObject({ cause: { code: 'ENOTDIR' } })
  })
})

it('Middleware: adds nothing to an answer that another handler sent', async () => {
  const called = withResolvers<void>()
  const release = withResolvers<void>()
  const upload = bitsUpload({
    store: memoryStore(),
    async onCreate() {
      called.resolve()
      await release.promise
    },
  })
  const app = express().use('/upload', (request, response, proceed) => {
    if (request.get('BITS-Packet-Type') === 'Create-Session') {
      void called.promise.then(() => response.status(504).end('too slow', () => release.resolve()))
    }
    upload(request, response, proceed)
  })
  const client = new TestClient(new URL('upload/a.bin', await serve(app)))
  const answer = await client.create()
  expect([answer.status, answer.body.toString()]).toEqual([504, 'too slow'])
  expect((await client.ping()).status).toBe(200)
})

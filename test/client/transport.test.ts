import { getEventListeners, once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { setTimeout as delay, setImmediate as tick } from 'node:timers/promises'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Connections } from '../../lib/client/connections.ts'
import { RetryableError } from '../../lib/client/response-policy.ts'
import { HttpTransport, type Reader, type TransportRequest } from '../../lib/client/transport.ts'
import { withResolvers } from '../support/promise.ts'
import { listenRaw } from './fake-server.ts'

const Ok = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
const status: Reader<number> = async (response, chunks) => {
  for await (const _ of chunks);
  return response.statusCode ?? 0
}

/** A server that handles connections with a function, and a transport to it. */
async function scene(
  serve: (socket: Socket) => void,
  limits = { sendTimeout: 120_000, responseTimeout: 300_000 },
) {
  let connections = 0
  const url = await listenRaw(
    createServer((socket) => {
      connections += 1
      serve(socket.on('error', () => {}))
    }),
  )
  const controller = new AbortController()
  const wire = new HttpTransport({ tls: {}, ...limits }, controller.signal)
  onTestFinished(() => wire.close())
  const request = (more: Partial<TransportRequest> = {}): TransportRequest => ({
    method: 'BITS_POST',
    url,
    fields: [['Host', url.host], ...(more.body ? [['Content-Length', String(2 ** 30)] as const] : [])],
    ...more,
  })
  const shared = new Connections({})
  onTestFinished(() => shared.close())
  return {
    url,
    controller,
    wire,
    shared,
    over: (used: Connections) => new HttpTransport({ tls: {}, ...limits }, controller.signal, used),
    connections: () => connections,
    exchange: (more?: Partial<TransportRequest>, read = status, transport = wire) =>
      transport.request(request(more), read),
  }
}

const answering = (answer: string) => (socket: Socket) => void socket.on('data', () => socket.write(answer))
const failureOf = async (work: Promise<unknown>): Promise<RetryableError> => {
  const error = await work.catch((reason) => reason)
  if (!(error instanceof RetryableError)) throw new Error('No RetryableError', { cause: error })
  expect(error.reason).toBe('retry')
  return error
}
const bytes = new Uint8Array(64 * 1024)

afterEach(() => {
  vi.useRealTimers()
})

describe('HttpTransport failure', () => {
  it('is marked unsent, not stale, if the connection is refused', async () => {
    const server = createServer()
    const url = await listenRaw(server)
    await new Promise((resolve) => server.close(resolve))
    const { exchange } = await scene(() => {})
    expect((await failureOf(exchange({ url }))).details).toMatchObject({ unsent: true, stale: false })
  })

  it.each<[string, (socket: Socket) => void]>([
    ['a connection closed at once', (socket) => socket.destroy()],
    ['a connection closed without an answer', (socket) => socket.once('data', () => socket.end())],
    ['a connection reset', (socket) => socket.once('data', () => socket.resetAndDestroy())],
    [
      'a connection closed within the head',
      (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 O')),
    ],
    [
      'a connection closed within the body',
      (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234')),
    ],
    ['an answer that is not HTTP', (socket) => socket.once('data', () => socket.write('220 ESMTP\r\n'))],
    [
      'an invalid Content-Length',
      (socket) => socket.once('data', () => socket.write(Ok.replace('Length: 0', 'Length: x'))),
    ],
    [
      'an unrequested upgrade',
      (socket) =>
        socket.once('data', () =>
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
        ),
    ],
  ])('is retryable but not marked unsent after %s', async (_, serve) => {
    const { exchange } = await scene(serve)
    expect((await failureOf(exchange())).details.unsent).toBeFalsy()
  })

  it('is marked stale, not unsent, if a kept connection is closed when it is reused', async () => {
    const { exchange, connections } = await scene((socket) => {
      socket.once('data', () => {
        socket.write(Ok)
        socket.once('data', () => socket.destroy())
      })
    })
    expect(await exchange()).toBe(200)
    expect((await failureOf(exchange())).details).toMatchObject({ stale: true, unsent: false })
    expect(await exchange()).toBe(200)
    expect(connections()).toBe(2)
  })

  it('is the error that the request body throws', async () => {
    const { exchange } = await scene((socket) => socket.resume())
    const error = new Error('tape')
    const body = (async function* () {
      yield bytes
      throw error
    })()
    await expect(exchange({ body })).rejects.toBe(error)
  })
})

describe('HttpTransport connections', () => {
  it('are reused without leftover listeners or warnings', async () => {
    const warnings: Error[] = []
    const warn = (warning: Error) => warnings.push(warning)
    process.on('warning', warn)
    onTestFinished(() => void process.off('warning', warn))
    const { exchange, connections, controller } = await scene(answering(Ok))
    for (let i = 0; i < 30; i += 1) expect(await exchange()).toBe(200)
    expect(connections()).toBe(1)
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    expect(warnings).toEqual([])
  })

  it('are shared by transports, and closed by their owner', async () => {
    const { exchange, connections, over, shared } = await scene(answering(Ok))
    for (let i = 0; i < 3; i += 1) {
      const transport = over(shared)
      expect(await exchange({}, status, transport)).toBe(200)
      transport.close()
    }
    expect(connections()).toBe(1)
    shared.close()
    expect(await exchange({}, status, over(shared))).toBe(200)
    expect(connections()).toBe(2)
  })

  it('are all replaced after one that the server had closed', async () => {
    // The server closes each connection when it gets its second request.
    const { exchange, connections, over, shared } = await scene((socket) => {
      socket.once('data', () => {
        socket.write(Ok)
        socket.once('data', () => socket.destroy())
      })
    })
    const transports = [over(shared), over(shared), over(shared)]
    await Promise.all(transports.map((transport) => exchange({}, status, transport)))
    expect(connections()).toBe(3)
    const [transport] = transports
    expect((await failureOf(exchange({}, status, transport))).details.stale).toBe(true)
    expect(await exchange({}, status, transport)).toBe(200)
    expect(connections()).toBe(4)
  })

  it('are closed after an answer that arrives before the end of the request', async () => {
    const closed = withResolvers<void>()
    const { exchange, connections } = await scene((socket) => {
      socket.on('close', () => closed.resolve()).once('data', () => socket.write(Ok))
    })
    let ended = false
    const endless = (async function* () {
      try {
        for (;;) yield bytes
      } finally {
        ended = true
      }
    })()
    expect(await exchange({ body: endless })).toBe(200)
    expect(await exchange()).toBe(200)
    expect(connections()).toBe(2)
    await vi.waitFor(() => expect(ended).toBe(true))
    await closed.promise
  })

  it('close the body iterator if TLS is never established', async () => {
    const { exchange, url } = await scene((socket) => socket.resume(), {
      sendTimeout: 20,
      responseTimeout: 20,
    })
    let ended = false
    const body = (async function* () {
      try {
        yield bytes
        yield bytes
      } finally {
        ended = true
      }
    })()
    await failureOf(exchange({ body, url: new URL(url.href.replace('http:', 'https:')) }))
    await vi.waitFor(() => expect(ended).toBe(true))
  })

  it('are closed by abort(), and the request in flight and later ones reject with its error', async () => {
    const { exchange, wire } = await scene(() => {})
    const error = new Error('enough')
    const work = exchange()
    setImmediate(() => wire.abort(error))
    await expect(work).rejects.toBe(error)
    await expect(exchange()).rejects.toBe(error)
  })

  it('are closed by the signal, and requests reject with its reason', async () => {
    let closed: Promise<unknown> | undefined
    const { exchange, controller } = await scene((socket) => {
      closed = once(socket, 'close')
      socket.once('data', () => controller.abort('enough'))
    })
    await expect(exchange()).rejects.toBe('enough')
    await closed
    await expect(async () => exchange()).rejects.toBe('enough')
  })
})

describe('HttpTransport timeouts', () => {
  const limits = { sendTimeout: 120_000, responseTimeout: 300_000 }
  const fakeTimers = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

  it('reject after sendTimeout without a sent byte, however long the whole body takes', async () => {
    const { exchange } = await scene((socket) => socket.resume(), limits)
    fakeTimers()
    let chunks = 0
    let wake = (): void => {}
    const body = (async function* () {
      for (;;) {
        yield bytes
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    })()
    const work = exchange({ body, onSent: () => (chunks += 1) })
    const outcome = failureOf(work)
    for (let i = 1; i <= 5; i += 1) {
      while (chunks < i) await tick()
      vi.advanceTimersByTime(119_999)
      await tick()
      if (i < 5) wake()
    }
    vi.advanceTimersByTime(1)
    expect((await outcome).message).toBe('Nothing could be sent for 120000 ms')
  })

  it('reject after sendTimeout when the server reads nothing', async () => {
    const { exchange } = await scene((socket) => socket.pause(), limits)
    fakeTimers()
    let sent = 0
    const body = (async function* () {
      for (;;) yield bytes
    })()
    const outcome = failureOf(exchange({ body, onSent: (length) => (sent += length) }))
    // Sends until the buffers of the system are full.
    for (let before = -1, idle = 0; idle < 200; idle = sent === before ? idle + 1 : 0) {
      before = sent
      await tick()
    }
    vi.advanceTimersByTime(120_000)
    const { message, details } = await outcome
    expect([message, details.isSlow]).toEqual(['Nothing could be sent for 120000 ms', true])
  })

  it('reject as unsent after sendTimeout when TLS is never established', async () => {
    // The server accepts the connection, and never sends a TLS record.
    const { exchange, url } = await scene((socket) => socket.resume(), limits)
    fakeTimers()
    const outcome = failureOf(exchange({ url: new URL(url.href.replace('http:', 'https:')) }))
    await tick()
    vi.advanceTimersByTime(120_000)
    expect((await outcome).details.unsent).toBe(true)
  })

  it('reject after responseTimeout without an answer', async () => {
    let asked = false
    const { exchange } = await scene((socket) => void socket.on('data', () => (asked = true)), limits)
    fakeTimers()
    const outcome = failureOf(exchange())
    while (!asked) await tick()
    await tick()
    vi.advanceTimersByTime(299_999)
    await tick()
    vi.advanceTimersByTime(1)
    const { message, details } = await outcome
    expect(message).toBe('There was no answer for 300000 ms')
    expect(details.unsent).toBe(false)
  })

  it('reject after responseTimeout without a byte after the response head', async () => {
    const { exchange } = await scene(answering('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n'), limits)
    fakeTimers()
    const begun = withResolvers<void>()
    const outcome = failureOf(
      exchange({}, async (response, chunks) => {
        begun.resolve()
        return status(response, chunks)
      }),
    )
    await begun.promise
    vi.advanceTimersByTime(300_000)
    expect((await outcome).message).toBe('The answer did not end within 300000 ms')
  })

  it('reject after responseTimeout without another byte of the response body', async () => {
    const { exchange } = await scene(answering('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345'), limits)
    fakeTimers()
    const begun = withResolvers<void>()
    const reader: Reader<number> = async (_, chunks) => {
      for await (const _ of chunks) begun.resolve()
      return 0
    }
    const outcome = failureOf(exchange({}, reader))
    await begun.promise
    vi.advanceTimersByTime(300_000)
    expect((await outcome).message).toBe('The answer did not end within 300000 ms')
  })

  it('reject after responseTimeout in total, for the head and the body', async () => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    const { exchange } = await scene(
      (socket) =>
        void socket.once('data', async () => {
          await delay(300)
          socket.write(head)
          // Ends in time if the time began with the head.
          await delay(300)
          socket.write('0\r\n\r\n')
        }),
      { ...limits, responseTimeout: 400 },
    )
    const { message, details } = await failureOf(exchange())
    expect(message).toMatch(/^(There was no answer for|The answer did not end within) 400 ms$/)
    expect(details.waited).toBe(400)
  })

  it('do not count the time that the reader spends on a chunk', async () => {
    const sockets: Socket[] = []
    const { exchange } = await scene((socket) => {
      sockets.push(socket)
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345'))
    }, limits)
    fakeTimers()
    const [begun, go] = [withResolvers<void>(), withResolvers<void>()]
    const reader: Reader<string> = async (_, chunks) => {
      let text = ''
      for await (const chunk of chunks) {
        begun.resolve()
        await go.promise
        text += chunk
      }
      return text
    }
    const outcome = exchange({}, reader as unknown as Reader<number>)
    await begun.promise
    vi.advanceTimersByTime(600_000)
    sockets[0]?.write('67890')
    go.resolve()
    expect(await outcome).toBe('1234567890')
  })
})

describe('HttpTransport reader', () => {
  it('finishes its current chunk before a broken connection is reported', async () => {
    const sockets: Socket[] = []
    const { exchange } = await scene((socket) => {
      sockets.push(socket)
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345'))
    })
    const seen: string[] = []
    const reader: Reader<number> = async (response, chunks) => {
      try {
        for await (const _ of chunks) {
          const closed = new Promise((resolve) => response.socket.once('close', resolve))
          sockets[0]?.resetAndDestroy()
          await closed
          for (let turn = 0; turn < 5; turn += 1) await tick()
          seen.push('written')
        }
      } finally {
        seen.push('read')
      }
      return 0
    }
    await failureOf(
      exchange({}, reader).catch((error) => {
        seen.push('reported')
        throw error
      }),
    )
    expect(seen).toEqual(['written', 'read', 'reported'])
  })
})

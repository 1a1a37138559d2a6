/** Request targets and mount paths: `mount()`, and what the middleware makes of `req.url`. */
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { connect, Socket } from 'node:net'
import express from 'express'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type BitsUpload, bitsUpload, memoryStore, mount } from '../../lib/index.ts'
import { received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'
import { next } from '../wire/setting.ts'

async function start(app: (upload: BitsUpload) => RequestListener) {
  const upload = bitsUpload({ store: await temporaryDirectory() })
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: await serve(app(upload)) }
}

const mounted = (upload: BitsUpload): RequestListener => express().use('/upload', upload)

/** Sends Create-Session and returns its status and the error in the event `refused`. */
async function refusal({ upload, url }: Awaited<ReturnType<typeof start>>, path: string) {
  const refused = next(upload, 'refused')
  const { status } = await new TestClient(new URL(path, url)).create()
  const { error } = await refused
  return { status, message: error.message }
}

it('Mount: a path that was not removed from req.url is named where its folder is missing', async () => {
  const apps: ((upload: BitsUpload) => RequestListener)[] = [
    (upload) => (request, response) => upload(request, response, () => response.writeHead(404).end()),
    (upload) => {
      const app = express()
      app.route('/upload/*path').all(upload)
      return app
    },
  ]
  for (const app of apps) {
    const scene = await start(app)
    expect(await refusal(scene, '/upload/a.bin')).toEqual({
      status: 404,
      message:
        "The folder 'upload' does not exist: create it, or set createFolders; or, if the middleware is mounted at " +
        "/upload, remove /upload from req.url, as app.use('/upload', …) and mount('/upload', …) do",
    })
  }
})

it('Mount: a missing folder is named without that advice if the mount path was removed', async () => {
  expect(await refusal(await start(mounted), '/upload/x/y/a.bin')).toEqual({
    status: 404,
    message: "The folder 'x/y' does not exist: create it, or set createFolders",
  })
})

it('Mount: /upload//x is refused for its empty segment, /upload/ and /upload/x/ as directories', async () => {
  const scene = await start(mounted)
  expect(await refusal(scene, '/upload//x')).toMatchObject({
    status: 400,
    message: expect.stringContaining('it contains an empty segment: its URL has two slashes in a row'),
  })
  for (const path of ['/upload/', '/upload/x/'])
    expect(await refusal(scene, path)).toMatchObject({
      status: 400,
      message: expect.stringContaining('it is a directory, because its URL ends with a slash'),
    })
})

it('Mount: a request target in absolute form is accepted below app.use()', async () => {
  const { url } = await start(mounted)
  const answer = await new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), '127.0.0.1')
    socket.on('error', reject).once('data', (data) => {
      socket.destroy()
      resolve(String(data))
    })
    socket.write(
      'BITS_POST http://files.example/upload/a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n' +
        'BITS-Packet-Type: Create-Session\r\n' +
        'BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}\r\n\r\n',
    )
  })
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
})

describe('mount', () => {
  type Handler = Parameters<typeof mount>[1]

  /** A request and response of Node without a connection. */
  function exchange(url: string) {
    const request: IncomingMessage & { originalUrl?: string } = new IncomingMessage(new Socket())
    request.url = url
    return { request, response: new ServerResponse(request) }
  }

  /** Calls the mounted handler with a target. Returns the targets that the handler sees, or 'next'. */
  function seen(path: string, url: string): unknown {
    const { request, response } = exchange(url)
    let result: unknown
    const handler: Handler = ({ url: relative }) => {
      result = [relative, request.originalUrl]
    }
    mount(path, handler)(request, response, () => {
      expect([request.url, 'originalUrl' in request]).toEqual([url, false])
      result = 'next'
    })
    return result
  }

  it.each([
    ['/upload', '/upload/a.bin', '/a.bin'],
    ['/upload', '/upload/x/a.bin?b=/upload', '/x/a.bin?b=/upload'],
    ['/upload', '/upload/', '/'],
    ['/upload', '/upload', '/'],
    ['/upload', '/upload?b', '/?b'],
    ['/upload', '/upload//a', '//a'],
    ['/upload', '/upload/upload/a', '/upload/a'],
    ['/upload', '/UPLOAD/A', '/A'],
    ['/Upload', '/upload/a', '/a'],
    ['/upload/', '/upload/a', '/a'],
    ['/files/upload', '/files/upload/a', '/a'],
    ['/%c3%bc', '/%C3%BC/a', '/a'],
    ['/', '/upload/a', '/upload/a'],
    ['/', '/?b', '/?b'],
    ['/upload', 'http://files.example/upload/a?b', 'http://files.example/a?b'],
    ['/upload', 'HTTPS://files.example:8443/upload', 'HTTPS://files.example:8443/'],
    ['/', 'http://files.example', 'http://files.example/'],
  ])('at %s passes %s to the handler as %s, and sets originalUrl', (path, url, relative) => {
    expect(seen(path, url)).toEqual([relative, url])
  })

  it.each([
    ['/upload', '/'],
    ['/upload', '/uploads'],
    ['/upload', '/uploads/a'],
    ['/upload', '/upload.bin'],
    ['/upload', '/upload%2Fa'],
    ['/upload', '/files/upload/a'],
    ['/upload', '/?/upload/a'],
    ['/upload', '//upload/a'],
    ['/upload', 'ftp://files.example/upload/a'],
    ['/upload', 'http://upload/a'],
    ['/', '*'],
    ['/', 'files.example:443'],
  ])('at %s passes %s to next() unchanged', (path, url) => {
    expect(seen(path, url)).toBe('next')
  })

  it('restores request.url before next(), and passes its argument on', () => {
    const { request, response } = exchange('/upload/a?b')
    const calls: unknown[] = []
    const passing: Handler = (_request, _response, next) => next('an error')
    mount('/upload', passing)(request, response, (error) => calls.push(error, request.url))
    expect(calls).toEqual(['an error', '/upload/a?b'])
    expect(request.originalUrl).toBe('/upload/a?b')
  })

  it('keeps an originalUrl that was set before', () => {
    const { request, response } = exchange('/upload/a')
    request.originalUrl = '/files/upload/a'
    mount('/upload', () => {})(request, response)
    expect(request).toMatchObject({ url: '/a', originalUrl: '/files/upload/a' })
  })

  it('receives uploads on a plain server, with replies and complete targets in events', async () => {
    const upload = bitsUpload({ store: memoryStore(), onUpload: () => ({ reply: 'thanks' }) })
    onTestFinished(() => upload.close({ grace: 0 }))
    const url = await serve(mount('/upload', upload))
    const uploaded = next(upload, 'uploaded')
    const client = new TestClient(new URL('/upload/a.bin?b=c', url))
    expect((await client.create()).status).toBe(200)
    const answer = await client.fragment(0, Buffer.from('hello'), 5)
    expect([answer.status, received(answer)]).toEqual([200, 5])
    expect(await uploaded).toMatchObject({ name: 'a.bin', path: '/upload/a.bin' })
    const reply = await fetch(new URL(String(answer.headers['bits-reply-url']), client.url))
    expect(await reply.text()).toBe('thanks')

    const refused = next(upload, 'refused')
    expect((await new TestClient(new URL('/upload/', url)).create()).status).toBe(400)
    expect((await refused).target).toBe('/upload/')
  })

  it('below a mount path of Express binds sessions to the complete path', async () => {
    const upload = bitsUpload({ store: memoryStore() })
    onTestFinished(() => upload.close({ grace: 0 }))
    const url = await serve(express().use('/files', mount('/upload', upload)))
    const created = next(upload, 'created')
    expect((await new TestClient(new URL('/files/upload/a.bin', url)).create()).status).toBe(200)
    expect(await created).toMatchObject({ name: 'a.bin', path: '/files/upload/a.bin' })
  })

  describe('without next()', () => {
    it('answers 404 to other requests, and to those that the handler passes on', async () => {
      const url = await serve(mount('/upload', bitsUpload({ store: memoryStore() })))
      for (const path of ['/', '/upload/a.bin']) {
        const answer = await fetch(new URL(path, url))
        expect([answer.status, await answer.text()]).toEqual([404, 'Not found\n'])
        expect(answer.headers.get('content-type')).toBe('text/plain')
      }
      expect((await send(new URL('/a.bin', url), 'Ping')).status).toBe(404)
    })

    it('answers 500 to an error of the handler, and prints the error', async () => {
      const print = vi.spyOn(console, 'error').mockImplementation(() => {})
      onTestFinished(() => print.mockRestore())
      const error = new Error('the handler failed')
      const url = await serve(mount('/upload', (_request, _response, next) => next(error)))
      const answer = await fetch(new URL('/upload/a.bin', url))
      expect([answer.status, await answer.text()]).toEqual([500, 'Internal server error\n'])
      expect(print.mock.calls).toEqual([[error]])
    })

    it('closes the connection if the handler fails after it began the response', async () => {
      const print = vi.spyOn(console, 'error').mockImplementation(() => {})
      onTestFinished(() => print.mockRestore())
      const url = await serve(
        mount('/', (_request, response, next) => {
          response.writeHead(200, { 'Content-Length': 5 }).write('h')
          next(new Error('the handler failed'))
        }),
      )
      await expect(fetch(url).then((answer) => answer.text())).rejects.toThrow()
    })
  })

  it.each([
    [
      'upload',
      /^mount: the path must be a URL path such as '\/upload', not 'upload'; it is compared literally/,
    ],
    ['', /not ''; /],
    ['/a b', /not '\/a b'; /],
    ['/ü', /not '\/ü'; /],
    ['/upload?a', /not '\/upload\?a'; /],
    ['/upload/:name', /without parameters, wildcards and query$/],
    ['/upload/*path', /without parameters, wildcards and query$/],
    ['/upload{/:name}', /without parameters, wildcards and query$/],
    [/^\/upload/, /not \/\^\\\/upload\/; /],
    [undefined, /not undefined; /],
  ])('refuses the path %s', (path, message) => {
    const call = () => mount(path as string, () => {})
    expect(call).toThrow(TypeError)
    expect(call).toThrow(message)
  })

  it.each([undefined, { store: './incoming' }])('refuses the handler %s', (handler) => {
    expect(() => mount('/upload', handler as never)).toThrow(
      new TypeError(
        "mount: the second argument must be a handler, for example bitsUpload({ store: './incoming' })",
      ),
    )
  })
})

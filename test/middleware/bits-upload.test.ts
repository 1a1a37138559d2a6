import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import connect from 'connect'
import express from 'express'
import express4 from 'express4'
import { describe, expect, it, onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { type Answer, send, TestClient } from '../support/client.ts'
import { serve } from '../support/server.ts'

type Use = (path: string, handler: (...args: never[]) => void) => Framework
type Framework = RequestListener & { use: Use }
const frameworks: [string, () => Framework][] = [
  ['Express 5', () => express() as unknown as Framework],
  ['Express 4', () => express4() as unknown as Framework],
  ['Connect', () => connect() as unknown as Framework],
]

/** Tells what reached it, and in which state. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const before = {
    read: request.readableDidRead,
    flowing: request.readableFlowing,
    listeners: request.eventNames(),
  }
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const { method, url, headers } = request
  response.end(
    JSON.stringify({ ...before, method, url, tag: headers['x-tag'], body: Buffer.concat(chunks).toString() }),
  )
}

const jsonBody = ({ body }: Answer) => JSON.parse(body.toString())

describe.each(frameworks)('Middleware in %s', (_, framework) => {
  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'BIND'])(
    'passes on %s below the mount path unchanged, with its body unread',
    async (method) => {
      const app = framework()
      app.use('/', (_request: IncomingMessage, _response: ServerResponse, next: () => void) => next())
      app.use('/upload', bitsUpload({ store: memoryStore() }))
      const url = await serve(app.use('/', echo))
      const headers = { 'X-Tag': 'x', 'BITS-Packet-Type': 'Ping', 'Content-Range': 'bytes 0-4/5' }
      const answer = await send(new URL('upload/a.bin?b=c', url), undefined, {
        method,
        headers,
        body: 'hello',
      })
      expect(jsonBody(answer)).toEqual({
        read: false,
        flowing: null,
        listeners: expect.not.arrayContaining(['data', 'end', 'close', 'error', 'readable']),
        method,
        url: '/upload/a.bin?b=c',
        tag: 'x',
        body: 'hello',
      })
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('bits-'))).toEqual([])
    },
  )

  it('shows the method BITS_POST to handlers before it and outside its mount path', async () => {
    const seen: unknown[] = []
    const app = framework()
    app.use('/', ({ method }: IncomingMessage, _: ServerResponse, next: () => void) => {
      seen.push(method)
      next()
    })
    app.use('/upload', bitsUpload({ store: memoryStore() }))
    const url = await serve(app.use('/', echo))
    expect((await send(new URL('upload/a', url), 'Ping')).status).toBe(200)
    expect(jsonBody(await send(new URL('elsewhere', url), 'Ping'))).toMatchObject({ method: 'BITS_POST' })
    expect(seen).toEqual(['BITS_POST', 'BITS_POST'])
  })

  it('accepts POST with X-HTTP-Method-Override: BITS_POST, and no other method or value', async () => {
    const store = memoryStore()
    const app = framework()
    app.use('/upload', bitsUpload({ store }))
    const url = new URL('upload/a.bin', await serve(app.use('/', echo)))
    const file = noise(1000)
    const client = new TestClient(url, { 'X-HTTP-Method-Override': 'BITS_POST' })
    const viaPost = (type: string, headers = {}, body: Uint8Array = Buffer.alloc(0)) =>
      client.send(type, { method: 'POST', headers, body })
    const protocols = { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' }
    client.sessionId = String((await viaPost('Create-Session', protocols)).headers['bits-session-id'])
    expect((await viaPost('Fragment', client.range(0, 1000, 1000), file)).status).toBe(200)
    expect((await viaPost('Close-Session', { 'BITS-Session-Id': client.sessionId })).status).toBe(200)
    expect(store.files.get('a.bin')?.equals(file)).toBe(true)

    for (const [method, override] of [
      ['POST', 'PUT'],
      ['POST', 'bits_post'],
      ['POST', ''],
      ['PUT', 'BITS_POST'],
      ['GET', 'BITS_POST'],
    ] as const) {
      const answer = await send(url, 'Ping', { method, headers: { 'X-HTTP-Method-Override': override } })
      expect(jsonBody(answer)).toMatchObject({ method })
    }
  })
})

it("upload.events: emits 'uploaded' to listeners and to the diagnostics channel", async () => {
  const upload = bitsUpload({ store: memoryStore(), authorize: () => 'ann' })
  const url = new URL('upload/a.bin', await serve(express().use('/upload', upload)))
  const traced: unknown[] = []
  const trace = (message: unknown): void => {
    traced.push(message)
  }
  subscribe('express-bits-upload:uploaded', trace)
  onTestFinished(() => void unsubscribe('express-bits-upload:uploaded', trace))
  const client = new TestClient(url)
  await client.create()
  const uploaded = once(upload.events, 'uploaded')
  await client.fragment(0, Buffer.from('hello'), 5)
  const report = {
    id: client.sessionId,
    name: 'a.bin',
    path: '/upload/a.bin',
    owner: 'ann',
    received: 5,
    total: 5,
  }
  expect(await uploaded).toEqual([report])
  expect(traced).toEqual([report])
  await client.close()
})

it("upload.events: emits 'received' for each fragment, but not for a repeat of the last one", async () => {
  const upload = bitsUpload({ store: memoryStore() })
  const url = new URL('upload/a.bin', await serve(express().use('/upload', upload)))
  const received: unknown[] = []
  upload.events.on('received', (report) => received.push(report.received))
  const client = new TestClient(url)
  await client.create()
  await client.fragment(0, Buffer.from('hel'), 5)
  // Held already, but the file goes on: the client is still there.
  await client.fragment(0, Buffer.from('hel'), 5)
  await client.fragment(3, Buffer.from('lo'), 5)
  expect((await client.fragment(3, Buffer.from('lo'), 5)).status).toBe(200)
  expect(received).toEqual([3, 3, 5])
  await client.close()
})

it.each([
  ['200 to a Ping', {}, 'Ping', 200],
  ['400 to an unknown packet type', {}, 'Pong', 400],
  ['501 to a Ping while enabled is false', { enabled: false }, 'Ping', 501],
])('Middleware: sends %s after the whole request was read', async (_, options, type, status) => {
  const upload = bitsUpload({ store: memoryStore(), ...options })
  let wasComplete: boolean | undefined
  const url = await serve((request, response) => {
    const { writeHead } = response
    response.writeHead = (...head: unknown[]) => {
      wasComplete = request.complete
      return Reflect.apply(writeHead, response, head)
    }
    upload(request, response, () => {})
  })
  const answer = await send(new URL('upload/a.bin', url), type)
  expect(answer.status).toBe(status)
  expect(wasComplete).toBe(true)
})

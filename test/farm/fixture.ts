/** Fixtures for a proxy with its file of `examples/proxies`, unchanged or edited, in front of a real server. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { Agent, createServer } from 'node:http'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import { join } from 'node:path'
import express, { type RequestHandler } from 'express'
import { generate } from 'selfsigned'
import { expect, onTestFinished } from 'vitest'
import { type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { UploadDirectory, writeUntilStored } from '../crash/fixture.ts'
import { TlsClient } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { listen } from '../support/server.ts'
import { next, sessionOn } from '../wire/setting.ts'
import { type Certificate, type ProxyExample, replace, type StartOptions } from './proxy-example.ts'

export const file = noise(200_000)
export const half = file.length / 2

/** The largest header field of Windows: a Kerberos token of 48 KB. */
export const token = { Authorization: `Negotiate ${'A'.repeat(48 * 1024)}` }

/** Removes a directive, or replaces it. */
export const without = (directive: string, replacement = ''): StartOptions => ({
  change: (config) => replace(config, { [directive]: replacement }),
})

interface BehindOptions extends StartOptions {
  readonly options?: Partial<BitsUploadOptions>
  /** Handlers before the middleware. */
  readonly before?: readonly RequestHandler[]
}

/** Starts a server behind a proxy. The URL is that of the mount path at the proxy. */
export async function startBehind(
  example: ProxyExample,
  { options, before = [], change, tls }: BehindOptions = {},
) {
  /** The types of the packets that reach the server. */
  const seen: (string | undefined)[] = []
  const record: RequestHandler = (request, _, next) => {
    seen.push(request.get('bits-packet-type'))
    next()
  }
  const directory = await temporaryDirectory()
  const upload = bitsUpload({ store: directory, ...options })
  // Without a listener failures are printed to the console.
  upload.events.on('failed', () => {})
  const app = express()
    .set('trust proxy', 'loopback')
    .use('/upload', record, ...before, upload)
  const { host } = await listen(createServer({ maxHeaderSize: 65_536 }, app))
  onTestFinished(() => upload.close({ grace: 0 }))
  const { url, program } = await example.start(host, { ...(change && { change }), ...(tls && { tls }) })
  if (tls) url.protocol = 'https:'
  return { upload, directory, url: new URL('upload/', url), program, seen }
}

export type Framing = 'length' | 'chunks'

/** Begins a fragment, with Content-Length or chunked, as another proxy in front may send it. */
export function beginFragment(client: TestClient, framing: Framing) {
  const { 'Content-Length': length, ...headers } = client.range(0, file.length, file.length)
  const outgoing = begin(client.url, 'Fragment', {
    headers: { ...headers, ...(framing === 'length' && { 'Content-Length': length }) },
  })
  const answer = answerTo(outgoing)
  answer.catch(() => {})
  return { outgoing, answer }
}

/** A certificate for the host of the examples. */
async function certificate(): Promise<Certificate> {
  const directory = await temporaryDirectory()
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'files.example' }], {
    keyType: 'ec',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'files.example' }] }],
  })
  const path = async (name: string, contents: string): Promise<string> => {
    await writeFile(join(directory, name), contents)
    return join(directory, name)
  }
  return {
    certificate: await path('cert.pem', cert),
    key: await path('key.pem', key),
    both: await path('both.pem', `${cert}\n${key}`),
  }
}

/** Resolves to what a hook sees of a client that uses https. */
export async function clientSeenByHook(example: ProxyExample, options: StartOptions = {}): Promise<unknown> {
  let client: unknown
  const see: RequestHandler = ({ headers: { host }, protocol, ips }, _, next) => {
    client = { host, protocol, ips }
    next()
  }
  const { url } = await startBehind(example, { before: [see], tls: await certificate(), ...options })
  await new TlsClient(new URL('a.bin', url), { Host: 'files.example:8443' }).create()
  return client
}

/** Sends an upload; resolves to the fields that announce a body in each packet that reaches the server. */
export async function bodyFields(example: ProxyExample): Promise<(string | undefined)[][]> {
  const seen: (string | undefined)[][] = []
  const record: RequestHandler = (request, _, next) => {
    seen.push(['bits-packet-type', 'content-length', 'transfer-encoding'].map((name) => request.get(name)))
    next()
  }
  const { url } = await startBehind(example, { before: [record] })
  const client = new TestClient(new URL('a.bin', url))
  const answers = [
    await client.ping(),
    await client.create(),
    await client.fragment(0, file, file.length),
    await client.close(),
  ]
  expect(answers.map(({ status, headers }) => [status, headers['bits-packet-type']])).toEqual(
    answers.map(() => [200, 'Ack']),
  )
  return seen
}

/** Sends half of a fragment through a proxy, breaks the connection, and expects that the server has stored the half. */
export async function expectPartialFragmentStored(example: ProxyExample, framing: Framing): Promise<void> {
  const { url, directory, upload } = await startBehind(example)
  const client = await sessionOn({ url })
  const { outgoing } = beginFragment(client, framing)
  await writeUntilStored(outgoing, file.subarray(0, half), new UploadDirectory(directory).part(client), half)
  const interrupted = next(upload, 'interrupted')
  outgoing.destroy()
  expect((await interrupted).received).toBe(half)
  const rest = await client.fragment(half, file.subarray(half), file.length)
  expect([rest.status, received(rest)]).toEqual([200, file.length])
}

/** Expects that a proxy answers a packet with a large header field itself, with 400. */
export async function expectTokenRefused(example: ProxyExample, { change }: StartOptions): Promise<void> {
  const { url, seen } = await startBehind(example, { ...(change && { change }) })
  expect((await send(url, 'Ping', { headers: token })).status).toBe(400)
  expect((await send(url, 'Ping')).status).toBe(200)
  expect(seen).toEqual(['Ping'])
}

/** Sends a fragment whose `onUpload` does not end; resolves to the status that the proxy answers. */
export async function statusWithoutDecision(example: ProxyExample, options: StartOptions): Promise<number> {
  const decided = withResolvers<void>()
  const { url } = await startBehind(example, { ...options, options: { onUpload: () => decided.promise } })
  onTestFinished(() => decided.resolve())
  const client = await sessionOn({ url })
  return (await client.fragment(0, file, file.length)).status
}

/** Sends half of a fragment and then nothing; resolves to the status that the proxy answers. */
export async function statusOfPausedFragment(example: ProxyExample, options: StartOptions): Promise<number> {
  const { url } = await startBehind(example, options)
  const { outgoing, answer } = beginFragment(await sessionOn({ url }), 'length')
  outgoing.write(file.subarray(0, half))
  const { status } = await answer
  outgoing.destroy()
  return status
}

/** Sends a packet and then nothing; resolves when the proxy closes the connection. */
export async function closedWhenIdle(example: ProxyExample, options: StartOptions): Promise<void> {
  const { url } = await startBehind(example, options)
  const agent = new Agent({ keepAlive: true })
  const closed = new Promise<void>((resolve) => {
    agent.once('free', (socket: Socket) => socket.once('close', () => resolve()))
  })
  expect((await send(url, 'Ping', { agent })).status).toBe(200)
  await closed
}

/** Starts a server that handles the data of each connection. */
async function startRawServer(onData: (socket: Socket) => void): Promise<string> {
  const server = createRawServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => onData(socket))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

export type Kind = 'BITS_POST' | 'POST' | 'BITS_POST with a body'

/**
 * Sends a packet to a proxy with two servers, the first of which closes the connection when it has received the packet.
 *
 * A BITS client repeats an unanswered packet itself, one packet at a time. If a proxy repeated it as well, two
 * servers could handle it at the same time. If the next server has a store of its own, it would report an unknown
 * session after a short failure, and the client would start again.
 *
 * @returns the status of the answer, or the code of the error without one, and the servers that received the packet
 */
export async function sendToFailingServer(
  example: ProxyExample,
  kind: Kind,
  { change = (text) => text }: StartOptions = {},
) {
  const servers: string[] = []
  const failing = await startRawServer((socket) => {
    servers.push('failing')
    socket.destroy()
  })
  const other = await startRawServer((socket) => {
    servers.push('next')
    socket.end('HTTP/1.1 200 OK\r\nBITS-Packet-Type: Ack\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })
  const { url } = await example.start(failing, { change: (text) => example.addServer(change(text), other) })
  const body = kind === 'BITS_POST with a body' ? file : undefined
  const answer = send(new URL('upload/a.bin', url), body ? 'Fragment' : 'Ping', {
    method: kind === 'POST' ? 'POST' : 'BITS_POST',
    headers: {
      'X-HTTP-Method-Override': 'BITS_POST',
      ...(body && { 'Content-Range': `bytes 0-${body.length - 1}/${body.length}` }),
    },
    ...(body && { body }),
  })
  // With a body, the proxy may close the connection before the client has read the 502.
  const status = await answer.then(
    (ack) => ack.status,
    (error: NodeJS.ErrnoException) => error.code,
  )
  return { status, servers }
}

/**
 * Sends packets on one connection to a server that answers the first and closes the connection at the second.
 * @returns the number of packets that the server received
 */
export async function packetsAfterReusedConnection(example: ProxyExample, client: (url: URL) => TestClient) {
  let packets = 0
  const server = await startRawServer((socket) => {
    packets += 1
    if (packets > 1) socket.destroy()
    else socket.write('HTTP/1.1 200 OK\r\nBITS-Packet-Type: Ack\r\nContent-Length: 0\r\n\r\n')
  })
  const { url } = await example.start(server)
  const packet = client(new URL('upload/a.bin', url))
  expect((await packet.ping()).status).toBe(200)
  const outcome = await packet.ping().then(
    ({ status }) => status,
    (error: NodeJS.ErrnoException) => error.code,
  )
  return { packets, outcome }
}

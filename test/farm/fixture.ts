/** Fixtures for nginx with the README's configuration, unchanged or edited, in front of a real server. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import express, { type Request, type RequestHandler } from 'express'
import { generate } from 'selfsigned'
import { expect, onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { UploadDirectory, writeUntilStored } from '../crash/fixture.ts'
import { TlsClient } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, send, type TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startNginx } from '../support/nginx.ts'
import { serve, type UploadServer } from '../support/server.ts'
import { next, type ServerSetup, sessionOn, start } from '../wire/setting.ts'
import { configFor, serverBlock } from './nginx-config.ts'

export const file = noise(200_000)
export const half = file.length / 2

/** Edits the nginx configuration. */
export type ConfigChange = (config: string) => string

export const unchanged: ConfigChange = (config) => config

/** Starts a server behind nginx. The URL is that of the mount path at nginx. */
export async function startBehindNginx(change: ConfigChange, setup: ServerSetup = {}) {
  /** The types of the packets that reach the server. */
  const seen: (string | undefined)[] = []
  const record: RequestHandler = (request, _, next) => {
    seen.push(request.get('bits-packet-type'))
    next()
  }
  const server = await start({ ...setup, before: [record] })
  const nginx = await startNginx((port) => serverBlock(port, change(configFor(server.url.origin))))
  return { ...server, nginx, url: new URL('upload/', nginx.url), seen }
}

export type Framing = 'length' | 'chunks'

/** Begins a fragment, with Content-Length or chunked, as another proxy in front may send it. */
export function beginFragment(client: TestClient, framing: Framing) {
  const { 'Content-Length': length, ...headers } = client.range(0, file.length, file.length)
  const outgoing = begin(client.url, 'Fragment', {
    headers: { ...headers, ...(framing === 'length' && { 'Content-Length': length }) },
  })
  answerTo(outgoing).catch(() => {})
  return outgoing
}

/** @returns what a hook sees of a client that uses https */
export async function clientSeenByHook(change: ConfigChange): Promise<unknown> {
  let seen: unknown
  const upload = bitsUpload<Request>({
    store: memoryStore(),
    onCreate(_, { host, protocol, ips }) {
      seen = { host, protocol, ips }
    },
  })
  const { origin } = await serve(express().set('trust proxy', 'loopback').use('/upload', upload))
  const directory = await temporaryDirectory()
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec' })
  const [certificate, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  await writeFile(certificate, pems.cert)
  await writeFile(key, pems.private)
  const { url } = await startNginx(
    (port) => `
      server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${certificate};
        ssl_certificate_key ${key};
        ${change(configFor(origin))}
      }`,
  )
  const destination = new URL(`https://${url.host}/upload/a.bin`)
  await new TlsClient(destination, { Host: 'files.example:8443' }).create()
  return seen
}

/**
 * Sends a packet to a farm whose first server closes the connection when it has received the packet.
 *
 * By default nginx passes a request to the next server after an error or a timeout, even if it has sent all
 * of it. There are two exceptions (ngx_http_upstream_next): requests with a method that is not idempotent,
 * for nginx only POST, LOCK and PATCH; and requests whose body it forwards without buffering. Neither applies
 * to packets without a body: their method is BITS_POST, and they have no body to forward. A BITS client
 * repeats an unanswered packet itself, one packet at a time. If nginx repeated it as well, two servers could
 * handle it at the same time. If the next server has a store of its own, it would report an unknown session
 * after a short failure, and the client would start again.
 *
 * @param body sends a Fragment with this body; without it a Ping is sent
 * @returns the status of the answer, and the servers that received the packet
 */
export async function sendToFailingServer(change: ConfigChange, method: 'BITS_POST' | 'POST', body?: Buffer) {
  const servers = new Set<string>()
  const failing = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      servers.add('failing')
      socket.destroy()
    })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void failing.close())
  await once(failing, 'listening')
  const record: RequestHandler = (_request, _response, next) => {
    servers.add('next')
    next()
  }
  const other = await start({ before: [record] })
  const { url } = await startNginx(
    (port) => `
      upstream uploads {
        server 127.0.0.1:${(failing.address() as AddressInfo).port};
        server ${other.url.host};
      }
      ${serverBlock(port, change(configFor('http://uploads')))}`,
  )
  const { status } = await send(new URL('upload/a.bin', url), body ? 'Fragment' : 'Ping', {
    method,
    headers: {
      'X-HTTP-Method-Override': 'BITS_POST',
      ...(body && { 'Content-Range': `bytes 0-${body.length - 1}/${body.length}` }),
    },
    ...(body && { body }),
  })
  return { status, servers: [...servers] }
}

/** Sends half of a fragment through a proxy, breaks the connection, and expects that the server has stored the half. */
export async function expectPartialFragmentStored(
  { url, directory, upload }: UploadServer,
  framing: Framing,
): Promise<void> {
  const client = await sessionOn({ url })
  const outgoing = beginFragment(client, framing)
  await writeUntilStored(outgoing, file.subarray(0, half), new UploadDirectory(directory).part(client), half)
  const interrupted = next(upload, 'interrupted')
  outgoing.destroy()
  expect((await interrupted).received).toBe(half)
  const rest = await client.fragment(half, file.subarray(half), file.length)
  expect([rest.status, received(rest)]).toEqual([200, file.length])
}

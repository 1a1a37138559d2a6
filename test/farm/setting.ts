/** Fixtures of the recipe tests: nginx with the README's recipe, unchanged or edited, in front of a real server. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import express, { type Request, type RequestHandler } from 'express'
import { generate } from 'selfsigned'
import { onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { TlsClient } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, send, type TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { startNginx } from '../support/nginx.ts'
import { serve } from '../support/server.ts'
import { type Scene, start } from '../wire/setting.ts'
import { recipe, serverAt } from './recipe.ts'

export const file = noise(200_000)
export const half = file.length / 2

/** Turns the recipe into another one. */
export type Change = (recipe: string) => string

export const asPrinted: Change = (text) => text

/** A server behind nginx, and the mount path's URL there. */
export async function behind(change: Change, scene: Scene = {}) {
  /** The packets that come through. */
  const seen: (string | undefined)[] = []
  const record: RequestHandler = (request, _, next) => {
    seen.push(request.get('bits-packet-type'))
    next()
  }
  const server = await start({ ...scene, before: [record] })
  const nginx = await startNginx((port) => serverAt(port, change(recipe(server.url.origin))))
  return { ...server, nginx, url: new URL('upload/', nginx.url), seen }
}

export type Framing = 'length' | 'chunks'

/** A fragment of which there is more to come, with its length, or chunked, as another proxy may have made it. */
export function beginFragment(client: TestClient, framing: Framing) {
  const { 'Content-Length': length, ...headers } = client.range(0, file.length, file.length)
  const outgoing = begin(client.url, 'Fragment', {
    headers: { ...headers, ...(framing === 'length' && { 'Content-Length': length }) },
  })
  answerTo(outgoing).catch(() => {})
  return outgoing
}

/** What a hook can tell of a client that comes by https. */
export async function clientInHook(change: Change): Promise<unknown> {
  let told: unknown
  const upload = bitsUpload<Request>({
    store: memoryStore(),
    onCreate(_, { host, protocol, ips }) {
      told = { host, protocol, ips }
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
        ${change(recipe(origin))}
      }`,
  )
  const destination = new URL(`https://${url.host}/upload/a.bin`)
  await new TlsClient(destination, { Host: 'files.example:8443' }).create()
  return told
}

/**
 * Sends a packet to a farm whose first server dies when it has got it.
 *
 * By default nginx hands a request on to the next server after an error or a timeout, even if it has sent all of it, with
 * two exceptions (ngx_http_upstream_next): one whose method is not idempotent, and those are to it POST, LOCK and PATCH
 * alone; and one whose body it passes on unbuffered. BITS_POST is not among the methods, and the packets without a body
 * have none to be passed on. A BITS client sends again by itself what was not answered, one packet at a time. Handed on by
 * nginx it would be worked on twice at once, and where the next server has a store of its own, a hiccup would be answered
 * that the session is unknown, and the client would begin anew.
 *
 * @param body makes it a fragment; without one it is a Ping
 * @returns the answer's status, and the servers that got the packet
 */
export async function meetDyingServer(change: Change, method: 'BITS_POST' | 'POST', body?: Buffer) {
  const servers = new Set<string>()
  const dying = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      servers.add('dying')
      socket.destroy()
    })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void dying.close())
  await once(dying, 'listening')
  const record: RequestHandler = (_request, _response, next) => {
    servers.add('next')
    next()
  }
  const other = await start({ before: [record] })
  const { url } = await startNginx(
    (port) => `
      upstream uploads {
        server 127.0.0.1:${(dying.address() as AddressInfo).port};
        server ${other.url.host};
      }
      ${serverAt(port, change(recipe('http://uploads')))}`,
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

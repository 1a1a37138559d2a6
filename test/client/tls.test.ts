import { readFile } from 'node:fs/promises'
import { createServer, type ServerOptions } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import express from 'express'
import { generate } from 'selfsigned'
import { describe, expect, it } from 'vitest'
import { type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { bitsUpload } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { listen, serve } from '../support/server.ts'
import { fakeServer } from './fake-server.ts'

const make = async (name: string) => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
  })
  return { key, cert }
}
const ofServer = await make('localhost')
const ofClient = await make('me')

const file = noise(100_000)

/** A server at `https://localhost`. */
async function secureServer(options: ServerOptions, app: express.Express): Promise<URL> {
  const url = await listen(createServer({ ...ofServer, ...options }, app))
  return new URL(`https://localhost:${url.port}/`)
}

async function uploadServer(options: ServerOptions = {}) {
  const directory = await temporaryDirectory()
  const url = await secureServer(options, express().use(bitsUpload({ store: directory })))
  const upload = (more: UploadOptions) => uploadFile(file, new URL('a.bin', url), more)
  const landed = async () => (await readFile(join(directory, 'a.bin'))).equals(file)
  return { url, upload, landed }
}

describe('uploadFile over HTTPS', () => {
  it('uploads to a server with a trusted certificate', async () => {
    const { upload, landed } = await uploadServer()
    await upload({ tls: { ca: ofServer.cert } })
    expect(await landed()).toBe(true)
  })

  it.each<[string, UploadOptions['tls']]>([
    ['an unknown issuer', {}],
    ['another host name', { ca: ofServer.cert, servername: 'elsewhere' }],
  ])('rejects with code certificate if the server certificate has %s', async (_, tls) => {
    const { upload } = await uploadServer()
    await expect(upload({ tls: tls ?? {} })).rejects.toMatchObject({
      code: 'certificate',
      cause: expect.any(Error),
    })
  })

  it('sends the client certificate of the tls option', async () => {
    const { upload, landed } = await uploadServer({ requestCert: true, ca: ofClient.cert })
    const tls = { ca: ofServer.cert }
    await upload({ tls: { ...tls, ...ofClient } })
    expect(await landed()).toBe(true)
  })

  const trusted = { ca: ofServer.cert }
  const required = { requestCert: true, ca: ofClient.cert }
  it.each<[string, ServerOptions, UploadOptions['tls'], RegExp]>([
    ['without the required client certificate', required, trusted, /requires a client certificate; pass one/],
    [
      'without the required client certificate, by TLS 1.2',
      { ...required, maxVersion: 'TLSv1.2' },
      trusted,
      /requires a client certificate, and there is none/,
    ],
    [
      'with a client certificate that the server does not trust',
      { ...required, ca: ofServer.cert },
      { ...trusted, ...ofClient },
      /closed 5 times; the server requests a client certificate, and the one of this client may not be trusted/,
    ],
    [
      'without a common version of TLS',
      { maxVersion: 'TLSv1.2' },
      { ...trusted, minVersion: 'TLSv1.3' },
      /no version of TLS, or no cipher, in common/,
    ],
    [
      'without a common cipher',
      { maxVersion: 'TLSv1.2' },
      { ...trusted, ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' },
      /no version of TLS, or no cipher, in common/,
    ],
  ])('ends at once %s', async (_, serverOptions, tls, message) => {
    const { upload } = await uploadServer(serverOptions)
    const error = await upload({ tls: tls ?? {}, retryDelay: 1, maxRetryDelay: 1 }).catch((reason) => reason)
    expect(error).toMatchObject({ code: 'tls-failed', message: expect.stringMatching(message) })
  })

  it('ends at once at the port of http', async () => {
    const url = await serve(express().use(bitsUpload({ store: await temporaryDirectory() })))
    await expect(uploadFile(file, `https://localhost:${url.port}/a.bin`)).rejects.toMatchObject({
      code: 'tls-failed',
      message: expect.stringContaining('does not use TLS on this port; write http://'),
    })
  })

  it('ends at once when the URL has http and the port is that of https', async () => {
    const { url } = await uploadServer()
    await expect(uploadFile(file, `http://localhost:${url.port}/a.bin`)).rejects.toMatchObject({
      code: 'tls-failed',
      message: expect.stringContaining('uses TLS on this port; write https://'),
    })
  })

  it("rejects with Node's error for an invalid tls option", async () => {
    const { upload } = await uploadServer()
    await expect(upload({ tls: { minVersion: 'TLSv9' as never } })).rejects.toThrow('TLSv9')
  })
})

describe('reply on another server', () => {
  const seen: { certificate: unknown; headers: object }[] = []
  const replies = express().get('/reply', (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate()
    seen.push({ certificate: subject?.CN, headers: request.headers })
    response.set('Content-Length', '5').send('reply')
  })

  it('is fetched without client certificate, credentials or caller headers', async () => {
    const url = await secureServer({ requestCert: true, rejectUnauthorized: false }, replies)
    const server = await fakeServer({ file, completed: { 'BITS-Reply-URL': new URL('reply', url).href } })
    const { reply } = await server.watch(
      uploadFile(file, new URL('a.bin', server.url), {
        auth: { user: 'me', password: 'secret' },
        headers: { 'X-Token': 'secret' },
        tls: { ca: ofServer.cert, ...ofClient },
      }),
    )
    expect(reply?.data?.toString()).toBe('reply')
    const [{ certificate, headers } = { certificate: 'none', headers: {} }] = seen
    expect(certificate).toBeUndefined()
    expect(Object.keys(headers).sort()).toEqual([
      'accept',
      'accept-encoding',
      'connection',
      'host',
      'range',
      'user-agent',
    ])
  })
})

/**
 * Client certificates (mutual TLS): only clients with a certificate of our authority can upload. The subject
 * of the certificate owns the sessions.
 */
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import express, { type Request } from 'express'
import { bitsUpload } from 'express-bits-upload'
import { generate } from 'selfsigned'

/** The verified subject as one string such as `CN=alice, O=Example`. Commas in values are escaped. */
function authorize({ socket }: Request): string | false {
  return (socket as TLSSocket).getPeerX509Certificate()?.subject.replaceAll('\n', ', ') ?? false
}

const app = express()
app.use('/upload', bitsUpload({ store: './incoming', authorize }))

// For this example all certificates are created at each start. In production read the server's key and
// certificate, and the authority's certificate, from files.
const kind = { keyType: 'ec', algorithm: 'sha256' } as const
const authority = await generate([{ name: 'commonName', value: 'Authority of the example' }], {
  ...kind,
  extensions: [{ name: 'basicConstraints', cA: true, critical: true }],
})
const ca = { key: authority.private, cert: authority.cert }
const issue = (name: string) => generate([{ name: 'commonName', value: name }], { ...kind, ca })
await mkdir('certificates', { recursive: true })
await writeFile('certificates/authority.pem', ca.cert)
for (const name of ['alice', 'bob']) {
  const { private: key, cert } = await issue(name)
  await writeFile(`certificates/${name}.pem`, key + cert, { mode: 0o600 })
}

const { private: key, cert } = await issue('localhost')
const tls = { key, cert, ca: ca.cert, requestCert: true, rejectUnauthorized: true }
const server = createServer(tls, app).listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
const url = `https://localhost:${(server.address() as AddressInfo).port}/upload/`
console.log(`Send files to ${url}
A Ping by curl:
  curl -i --cacert certificates/authority.pem --cert certificates/alice.pem -X BITS_POST \\
    -H 'BITS-Packet-Type: Ping' -H 'Content-Length: 0' ${url}a.bin`)

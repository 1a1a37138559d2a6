/**
 * HTTPS. The certificate is created at start and self-signed, which is enough for `curl --insecure`. Windows
 * sends nothing to a server that it does not trust. In production read a key and a certificate from files.
 */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { generate } from 'selfsigned'

const app = express()
app.use('/upload', bitsUpload({ store: './incoming' }))

const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
  algorithm: 'sha256',
})
const server = createServer({ key, cert }, app).listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to https://localhost:${(server.address() as AddressInfo).port}/upload/`)

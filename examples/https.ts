/**
 * HTTPS. The certificate is made on the spot and nobody trusts it: enough to try with `curl --insecure`. Windows sends
 * nothing to a server that it does not trust, so in earnest read a key and a certificate from files.
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
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to https://localhost:${(server.address() as AddressInfo).port}/upload/`)

/** Express 4: the same line as in express5.ts. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { bitsUpload } from 'express-bits-upload'
// Write 'express' in your code. This alias lets the repository have Express 4 and 5 installed together.
import express from 'express4'

const app = express()
app.use('/upload', bitsUpload({ store: './incoming' }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

/** Connect instead of Express. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import connect from 'connect'
import { bitsUpload } from 'express-bits-upload'

const app = connect()
app.use('/upload', bitsUpload({ store: './incoming' }))

const server = createServer(app).listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

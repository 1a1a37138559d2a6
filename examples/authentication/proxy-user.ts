/**
 * Authentication by a proxy in front, which sends the name of the user in the header field X-Remote-User:
 * see apache-negotiate.conf. The proxy must set the field in every request, so that no client can.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { bitsUpload } from 'express-bits-upload'

const upload = bitsUpload<Request>({
  store: './incoming',
  // `false` rejects the packet with 403: without the proxy there is no user.
  authorize: (request) => request.get('x-remote-user') || false,
})

const app = express()
app.use('/upload', upload)

// A client that can connect to this port can claim any name. Only programs of this machine can connect.
const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`The proxy sends to http://127.0.0.1:${(server.address() as AddressInfo).port}/upload/`)

/** A server behind a proxy on the same machine. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const app = express()
// Express takes request.ip, protocol and host of the client from X-Forwarded-*, if a proxy on this machine sends them.
app.set('trust proxy', 'loopback')
app.use(
  '/upload',
  bitsUpload<express.Request>({
    store: './incoming',
    onUpload({ path }, { ip, protocol, host }) {
      console.log(`${ip} uploaded ${protocol}://${host}${path}`)
    },
  }),
)

// A Kerberos token may have 48 KB; Node's default for all header fields is 16 KB.
const server = createServer({ maxHeaderSize: 65_536 }, app)
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
// Only programs on this machine can connect, so that all uploads come through the proxy.
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
await once(server, 'listening')
console.log(`The proxy sends packets to http://127.0.0.1:${(server.address() as AddressInfo).port}/upload/`)

/** A custom server of Next.js. Uploads are handled before Next.js, which sees all other requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { bitsUpload, mount } from 'express-bits-upload'
import next from 'next'

const uploads = mount('/upload', bitsUpload({ store: './incoming' }))

const app = next({ dev: process.argv.includes('--dev') })
await app.prepare()
const listener = app.getRequestHandler()

const server = createServer((request, response) =>
  uploads(request, response, () => listener(request, response)),
).listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
console.log(`Send files to http://localhost:${port}/upload/`)

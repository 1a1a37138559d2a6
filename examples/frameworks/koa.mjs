/** Koa. Uploads are handled before Koa, which sees all other requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { bodyParser } from '@koa/bodyparser'
import { bitsUpload, mount } from 'express-bits-upload'
import Koa from 'koa'

const uploads = mount('/upload', bitsUpload({ store: './incoming' }))

const app = new Koa()
app.use(bodyParser())
app.use((context, next) => {
  if (context.path !== '/hello') return next()
  context.body = context.method === 'POST' ? context.request.body : 'Hello'
})
const listener = app.callback()

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

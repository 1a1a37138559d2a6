/** Hono on Node. Uploads are handled before Hono, which sees all other requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { bitsUpload, mount } from 'express-bits-upload'
import { Hono } from 'hono'

const uploads = mount('/upload', bitsUpload({ store: './incoming' }))

const app = new Hono()
app.get('/hello', (context) => context.text('Hello'))
app.post('/hello', async (context) => context.json(await context.req.json()))
const listener = getRequestListener(app.fetch)

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

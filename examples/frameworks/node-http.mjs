/** Plain node:http. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { bitsUpload, mount } from 'express-bits-upload'

const uploads = mount('/upload', bitsUpload({ store: './incoming' }))

/** @type {import('node:http').RequestListener} */
async function listener(request, response) {
  if (request.url !== '/hello') response.writeHead(404).end('Nothing here')
  else if (request.method === 'POST') response.end(JSON.stringify(await json(request)))
  else response.end('Hello')
}

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

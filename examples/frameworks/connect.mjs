/** Connect. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import bodyParser from 'body-parser'
import connect from 'connect'
import { bitsUpload } from 'express-bits-upload'

const app = connect()
// Before body parsers, which would read the fragments.
app.use('/upload', bitsUpload({ store: './incoming' }))
app.use(bodyParser.json())
app.use('/hello', (request, response) => {
  response.end(request.method === 'POST' ? JSON.stringify(request.body) : 'Hello')
})

const server = createServer(app).listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
console.log(`Send files to http://localhost:${port}/upload/`)

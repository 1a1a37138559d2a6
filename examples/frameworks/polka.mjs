/** Polka. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import bodyParser from 'body-parser'
import { bitsUpload, mount } from 'express-bits-upload'
import polka from 'polka'

const server = createServer()
const app = polka({ server })
// Before body parsers, which would read the fragments.
app.use(mount('/upload', bitsUpload({ store: './incoming' })))
app.use(bodyParser.json())
app.get('/hello', (_request, response) => void response.end('Hello'))
app.post('/hello', (request, response) => void response.end(JSON.stringify(request.body)))

app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
console.log(`Send files to http://localhost:${port}/upload/`)

/** Express 5. */
import { once } from 'node:events'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const app = express()
// Before body parsers, which would read the fragments.
app.use('/upload', bitsUpload({ store: './incoming' }))
app.use(express.json())
app.get('/hello', (_request, response) => void response.send('Hello'))
app.post('/hello', (request, response) => void response.json(request.body))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
console.log(`Send files to http://localhost:${port}/upload/`)

/** An HTTP server that does not listen: other code accepts the connections, and passes them to it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import express from 'express'
import { acceptBitsPost, bitsUpload } from 'express-bits-upload'

const app = express()
// Before body parsers, which would read the fragments.
app.use('/upload', bitsUpload({ store: './incoming' }))
app.use(express.json())
app.get('/hello', (_request, response) => void response.send('Hello'))
app.post('/hello', (request, response) => void response.json(request.body))

const server = createServer(app)
acceptBitsPost(server)
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000

// Waits for the first bytes of a connection, by which a real gateway decides which server it is for.
const gateway = createTcpServer((socket) => {
  socket.on('error', () => socket.destroy())
  socket.once('readable', () => {
    const bytes = socket.read()
    if (bytes === null) return
    socket.unshift(bytes)
    server.emit('connection', socket)
  })
})
gateway.listen(Number(process.env.PORT ?? 8080))
await once(gateway, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (gateway.address())
console.log(`Send files to http://localhost:${port}/upload/`)

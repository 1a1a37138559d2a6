/** Uploads in memory: GET returns them, and they are lost when the process ends. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload, memoryStore } from 'express-bits-upload'

const store = memoryStore({ capacity: 256 * 1024 * 1024 })

const app = express()
app.use('/upload', bitsUpload({ store }))
// A request that is not a BITS packet reaches the next handler.
app.get('/upload/:name', (request, response, next) => {
  const file = store.files.get(request.params.name)
  // As an attachment, never as a web page, because the client chose the name and the bytes.
  if (file) response.type('application/octet-stream').attachment().send(file)
  else next()
})

const server = app.listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

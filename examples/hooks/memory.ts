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
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

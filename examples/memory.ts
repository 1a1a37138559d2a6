/** Uploads that stay in memory: here they can be had back with GET, and are forgotten when the process ends. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload, memoryStore } from 'express-bits-upload'

const store = memoryStore({ capacity: 256 * 1024 * 1024 })

const app = express()
app.use('/upload', bitsUpload({ store }))
// What is no BITS packet goes on to the next handler.
app.get('/upload/:name', (request, response, next) => {
  const file = store.files.get(request.params.name)
  // Never as a web page: the sender chose both the name and the bytes.
  if (file) response.type('application/octet-stream').attachment().send(file)
  else next()
})

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

/** Express 4: the same line. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { bitsUpload } from 'express-bits-upload'
// You write 'express': the alias only lets this repository keep Express 4 and 5 side by side.
import express from 'express4'

const app = express()
app.use('/upload', bitsUpload({ store: './incoming' }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

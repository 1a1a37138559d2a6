/**
 * One of several processes of one machine that share a directory. See README.md beside this file.
 *
 *     PORT=8081 npx tsx process.ts
 *     PORT=8082 npx tsx process.ts
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const upload = bitsUpload({ store: './incoming' })
const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

// The directory holds all received bytes. The client continues at another process.
process.once('SIGTERM', async () => {
  server.close()
  await upload.close()
  server.closeAllConnections()
})

/**
 * One of several machines, each with a directory of its own, behind a load balancer. A client sends
 * Create-Session through the balancer, and all later packets to HOST_ID. See README.md beside this file.
 *
 *     HOST_ID=node1.example PORT=8080 npx tsx host-id.ts
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

// LISTEN: an IP address of this machine; by default all.
const { HOST_ID: hostId = hostname(), PORT: port = '8080', LISTEN: host } = process.env

const upload = bitsUpload({ store: './incoming', hostId })
const app = express()
app.use('/upload', upload)

const server = app.listen({ port: Number(port), host })
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://${hostId}:${(server.address() as AddressInfo).port}/upload/`)

// Only this machine can continue its uploads: clients wait until it runs again.
process.once('SIGTERM', async () => {
  server.close()
  await upload.close()
  server.closeAllConnections()
})

/**
 * Logs events, sweeps at the start, and stops gracefully at Ctrl+C (SIGINT) or SIGTERM. While a file
 * `uploads-disabled` exists in the working directory, all packets are refused with 501.
 */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const upload = bitsUpload({
  store: './incoming',
  enabled: () => !existsSync('uploads-disabled'), // called for each packet
})
for (const event of ['created', 'received', 'uploaded', 'closed', 'cancelled', 'expired'] as const) {
  upload.events.on(event, ({ name, received }) => console.log(`${name}: ${event}, ${received} bytes`))
}
upload.events.on('interrupted', ({ name, reason }) => console.log(`${name}: ${reason.message}`))
upload.events.on('refused', ({ type, target, error }) => console.log(type, target, error.message))
upload.events.on('failed', ({ type, target, error }) => console.error(type, target, error))

const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    console.log('Stopping')
    server.close()
    await upload.close({ grace: 10_000 })
    server.closeAllConnections()
  })
}

upload.sweep().then(
  ({ expired, open }) => console.log(`Sweep: ${expired} sessions removed, ${open} open`),
  (error) => console.error('The sweep failed:', error),
)

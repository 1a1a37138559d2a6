/** The settings of a virtual directory of IIS: one week, a clean-up every 6 hours, 4 GiB, overwriting. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload, fileStore } from 'express-bits-upload'

const app = express()
app.use(
  '/upload', // the virtual directory
  bitsUpload({
    // The folder of the virtual directory, and BITSSessionDirectory.
    store: fileStore('./upload', { sessionDirectory: './upload-sessions' }),
    expireAfter: 604_800 * 1000, // BITSSessionTimeout = 604800
    sweepEvery: 6 * 3_600_000, // BITSCleanupUseDefault = 0, BITSCleanupCount = 6, BITSCleanupUnits = 1
    maxSize: 4_294_967_296, // BITSMaximumUploadSize = "4294967296"
    overwrite: true, // BITSAllowOverwrites = 1
  }),
)

const server = app.listen(Number(process.env.PORT ?? 80))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

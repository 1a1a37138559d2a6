/**
 * Replies to each upload: the client of an upload-reply job downloads the value that `onUpload` returns. Here
 * it is the SHA-256 of the file, with which the sender can verify the received bytes. The uploads themselves
 * are not stored.
 *
 *     npx express-bits-upload send report.zip --reply - http://localhost:8080/check/report.zip
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { bitsUpload, type CompleteUpload, type UploadDecision } from 'express-bits-upload'

async function onUpload({ name, size, read }: CompleteUpload): Promise<UploadDecision> {
  const hash = createHash('sha256')
  await pipeline(read(), hash)
  const reply = JSON.stringify({ name, size, sha256: hash.digest('hex') })
  // Without `publish: false` the file would also appear in ./incoming.
  return { reply, publish: false }
}

const app = express()
app.use('/check', bitsUpload({ store: './incoming', onUpload }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/check/`)

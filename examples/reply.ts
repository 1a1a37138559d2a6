/**
 * Answers each upload: the client of an upload-reply job fetches what `onUpload` returns. Here it is the file's SHA-256, so
 * that a sender can tell that what arrived is what it sent. The uploads themselves are not kept.
 *
 *     npx express-bits-upload send report.zip --reply - http://localhost:8080/check/report.zip
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { bitsUpload, type CompleteUpload, type UploadDecision } from 'express-bits-upload'

/** May take as long as the client waits: 5 minutes on Windows. If it throws, the client comes back later. */
async function onUpload({ name, size, read }: CompleteUpload): Promise<UploadDecision> {
  const hash = createHash('sha256')
  await pipeline(read(), hash)
  const reply = JSON.stringify({ name, size, sha256: hash.digest('hex') })
  // Without `publish: false` the file would appear in ./incoming, too.
  return { reply, publish: false }
}

const app = express()
app.use('/check', bitsUpload({ store: './incoming', onUpload }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/check/`)

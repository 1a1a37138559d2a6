/**
 * Accepts only `*.log` files of at most 50 MB. Each is published under a name that the server chooses. The
 * requested name and the address of the client are kept as metadata.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { BitsError, bitsUpload, type CreateDecision, type NewUpload } from 'express-bits-upload'

function onCreate({ id, name }: NewUpload, request: Request): CreateDecision {
  if (!name.endsWith('.log')) throw new BitsError('access-denied', 'Only *.log files are accepted')
  return {
    name: `${id}.log`, // the id is unique, so no upload can meet the file of another one
    maxSize: '50mb',
    metadata: { name, from: request.ip ?? 'unknown' },
  }
}

const upload = bitsUpload({ store: './incoming', onCreate })
upload.events.on('uploaded', ({ name, metadata }) => {
  console.log(`${metadata?.name} from ${metadata?.from} is ${name}`)
})

const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

/**
 * Inspects each upload before it is published: a file whose SHA-256 is in a blocklist is refused permanently.
 * The blocklist is a text file with one hash per line.
 *
 *     npx tsx inspect.ts blocklist.txt
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { BitsError, bitsUpload, type CompleteUpload } from 'express-bits-upload'

const blocklist = process.argv[2] ?? 'blocklist.txt'

async function onUpload({ name, size, read }: CompleteUpload): Promise<void> {
  // Hooks have no time limit of their own. Windows waits 5 minutes for the answer.
  const signal = AbortSignal.timeout(4 * 60_000)
  const hash = createHash('sha256')
  await pipeline(read(), hash, { signal })
  const digest = hash.digest('hex')
  // If this throws, for example because the list is missing, the client gets 500 and tries again later.
  const blocked = await readFile(blocklist, { encoding: 'utf8', signal })
  // Permanent: the bytes are removed, and the hook is not called again for this upload.
  if (blocked.toLowerCase().includes(digest)) throw new BitsError('application-refused', `${name} is blocked`)
  console.log(`${name}: ${size} bytes, SHA-256 ${digest}`)
}

const upload = bitsUpload({ store: './incoming', onUpload })
upload.events.on('refused', ({ error }) => console.log(`Refused: ${error.message}`))
upload.events.on('failed', ({ error }) => console.error('Failed:', error.cause))

const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

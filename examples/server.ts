/**
 * An upload server to begin with, and what `npm start` runs:
 *
 *     npm start                              files land in ./incoming, port 8080
 *     PORT=9000 npm start -- /srv/uploads    elsewhere
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import express from 'express'
import { bitsUpload, type UploadReport } from 'express-bits-upload'

const directory = resolve(process.argv[2] ?? 'incoming')
const upload = bitsUpload({ store: directory })

const progress = ({ received, total = 0 }: UploadReport): string => {
  const percent = total === 0 ? 100 : Math.floor((received / total) * 100)
  return `${percent} %, ${received} of ${total} bytes`
}
upload.events
  .on('created', ({ name }) => console.log(`${name}: begins`))
  .on('received', (report) => console.log(`${report.name}: ${progress(report)}`))
  .on('interrupted', (report) => console.log(`${report.name}: ${progress(report)}. ${report.reason.message}`))
  .on('uploaded', ({ name }) => console.log(`${name}: complete, ${join(directory, name)}`))
  .on('cancelled', ({ name }) => console.log(`${name}: cancelled by the client`))
  .on('expired', ({ name }) => console.log(`${name}: given up, the client did not come back`))
  .on('refused', ({ type, target, error }) => console.log(`${target}: ${type} refused: ${error.message}`))
  .on('failed', ({ type, target, error }) => console.error(`${target}: ${type} failed:`, error))

const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up any request after 300 s. A fragment may have 13 MB, and over a bad line take longer, again and again.
// In its place the option `idleTimeout` gives up fragments of which no byte comes any more.
server.requestTimeout = 0
await once(server, 'listening')

/** Packets being worked on may end, the others are told to come again later. A second signal ends it at once. */
async function stop(): Promise<void> {
  console.log('Stopping. Unfinished uploads go on when the server is started again.')
  server.close()
  await upload.close()
  server.closeIdleConnections()
}
process.once('SIGINT', stop).once('SIGTERM', stop)

const url = `http://${hostname()}:${(server.address() as AddressInfo).port}/upload/`
console.log(`Send files to ${url}
They land in ${directory}

From Windows, in PowerShell:
  Start-BitsTransfer -TransferType Upload -Source C:\\Windows\\win.ini -Destination ${url}win.ini
or, at any prompt:
  bitsadmin /transfer example /upload ${url}win.ini C:\\Windows\\win.ini

From elsewhere, packet by packet:
  url=${url}hello.txt
  session=$(curl -si -X BITS_POST -H 'Content-Length: 0' -H 'BITS-Packet-Type: Create-Session' \\
    -H 'BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}' "$url" |
    tr -d '\\r' | sed -n 's/^BITS-Session-Id: //p')
  curl -si -X BITS_POST -H 'BITS-Packet-Type: Fragment' -H "BITS-Session-Id: $session" \\
    -H 'Content-Range: bytes 0-4/5' --data-binary hello "$url"
  curl -si -X BITS_POST -H 'Content-Length: 0' -H 'BITS-Packet-Type: Close-Session' \\
    -H "BITS-Session-Id: $session" "$url"

Ctrl+C stops the server.
`)

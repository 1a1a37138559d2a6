/**
 * Notifies a server application of each upload, as the BITS extension of IIS does. The application runs in the
 * same process here. Usually it is a program of its own, which may have been written for IIS.
 *
 *     npx express-bits-upload send order.xml --reply - http://localhost:8080/upload/order.xml
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { bitsUpload, notifyApplication } from 'express-bits-upload'

const application = express()
application.post('/orders', async (request, response) => {
  const hash = createHash('sha256')
  await pipeline(request, hash)
  const { pathname } = new URL(request.get('BITS-Original-Request-URL') ?? '')
  console.log(`Notified of ${pathname}`)
  if (!pathname.endsWith('.xml')) {
    response.sendStatus(403) // permanent: the application is not notified of this upload again
    return
  }
  response.set('BITS-Copy-File-To-Destination', 'yes') // without this field the file is not published
  response.json({ order: pathname, sha256: hash.digest('hex') }) // the reply
})
const applicationServer = application.listen(0, '127.0.0.1')
await once(applicationServer, 'listening')
const { port } = applicationServer.address() as AddressInfo

const onUpload = notifyApplication({
  url: `http://127.0.0.1:${port}/orders`,
  mode: 'value',
  timeout: 4 * 60_000, // less than the 5 minutes that Windows waits, so that the client gets the answer 408
})

const app = express()
app.use('/upload', bitsUpload({ store: './incoming', onUpload }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

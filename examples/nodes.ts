/**
 * One of any number of nodes that share only a container or a bucket. nodes.conf configures the nginx in
 * front.
 *
 *     STORE=azure BUCKET=incoming AZURE_STORAGE_CONNECTION_STRING=… PORT=8081 node nodes.mjs
 *     STORE=s3 BUCKET=incoming AWS_REGION=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… PORT=8082 node nodes.mjs
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { S3Client } from '@aws-sdk/client-s3'
import { BlobServiceClient } from '@azure/storage-blob'
import express from 'express'
import { bitsUpload, type Store } from 'express-bits-upload'
import { azureStore } from 'express-bits-upload/azure'
import { s3Store } from 'express-bits-upload/s3'

const { STORE, BUCKET: bucket = 'incoming', AZURE_STORAGE_CONNECTION_STRING: account = '' } = process.env

const stores: Record<string, () => Store> = {
  azure: () =>
    azureStore({ container: BlobServiceClient.fromConnectionString(account).getContainerClient(bucket) }),
  // The SDK reads region, credentials and endpoint from the environment, or from the role of the machine.
  s3: () => s3Store({ client: new S3Client({}), bucket }),
}
const store = stores[STORE ?? '']?.()
if (!store) throw new Error(`Set STORE to ${Object.keys(stores).join(' or ')}`)

const upload = bitsUpload({ store })
const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

// A deployment that stops nodes like this loses no data: the store holds all received bytes, and the client
// continues at another node.
process.once('SIGTERM', async () => {
  server.close()
  await upload.close()
  server.closeAllConnections()
})

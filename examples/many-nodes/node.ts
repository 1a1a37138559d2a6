/**
 * One of any number of nodes that share a container of Azure Blob Storage or a bucket of S3. They need no
 * disk. See README.md beside this file.
 *
 *     STORE=azure BUCKET=incoming AZURE_STORAGE_CONNECTION_STRING=… PORT=8081 npx tsx node.ts
 *     STORE=s3 BUCKET=incoming AWS_REGION=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… PORT=8082 npx tsx node.ts
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
  s3: () => {
    // The SDK reads region, credentials and endpoint from the environment, or from the role of the machine.
    // Its default of 50 connections is too few for a busy node.
    const client = new S3Client({ requestHandler: { httpsAgent: { maxSockets: 300 } } })
    return s3Store({ client, bucket })
  },
}
const store = stores[STORE ?? '']?.()
if (!store) throw new Error(`Set STORE to ${Object.keys(stores).join(' or ')}`)

const upload = bitsUpload({ store })
const app = express()
app.use('/upload', upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)

// The store holds all received bytes. The client continues at another node.
process.once('SIGTERM', async () => {
  server.close()
  await upload.close()
  server.closeAllConnections()
})

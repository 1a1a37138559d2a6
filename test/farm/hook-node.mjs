/**
 * A node over an object service with a hook `onUpload`, which reads each file; with HOOK=hang it prints the name, and never
 * returns. The environment is that of examples/many-nodes/node.ts.
 */
import { once } from 'node:events'
import { S3Client } from '@aws-sdk/client-s3'
import { BlobServiceClient } from '@azure/storage-blob'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { azureStore } from 'express-bits-upload/azure'
import { s3Store } from 'express-bits-upload/s3'

const { STORE, BUCKET: bucket = '', AZURE_STORAGE_CONNECTION_STRING: account = '', HOOK } = process.env
const store =
  STORE === 'azure'
    ? azureStore({ container: BlobServiceClient.fromConnectionString(account).getContainerClient(bucket) })
    : s3Store({ client: new S3Client({ requestHandler: { httpsAgent: { maxSockets: 300 } } }), bucket })

/** @param {import('express-bits-upload').CompleteUpload} upload */
async function onUpload({ name, size, read }) {
  if (HOOK === 'hang') {
    console.log(`onUpload(${name})`)
    await new Promise(() => {})
  }
  let bytes = 0
  for await (const chunk of read()) bytes += chunk.length
  if (bytes !== size) throw new Error(`${name} has ${bytes} bytes instead of ${size}`)
}

const upload = bitsUpload({ store, onUpload })
const server = express().use('/upload', upload).listen(Number(process.env.PORT))
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
console.log(`http://localhost:${port}/upload/`)

process.once('SIGTERM', async () => {
  server.close()
  await upload.close()
  server.closeAllConnections()
})

/**
 * Child process that holds a lock: `holder.ts TIMING NAME`, with the environment of a `Place`. Messages to the parent:
 * `held`, `wanted` when another request waits, `released`. On the message `release` it releases the lock; on any other
 * message it disconnects from the parent, after which the process must exit by itself.
 */
import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { objectLocker } from '../../../lib/locks/objects.ts'
import { azureSpace } from '../../../lib/objects/azure.ts'
import { s3Space } from '../../../lib/objects/s3.ts'

const { STORE, BUCKET: bucket = '', AZURE_STORAGE_CONNECTION_STRING: connection = '' } = process.env
const space =
  STORE === 's3' ? s3Space(new S3Client({}), { bucket }) : azureSpace(new ContainerClient(connection, bucket))

const [timing = '', name = ''] = process.argv.slice(2)
const lock = await objectLocker(space, JSON.parse(timing)).acquire(name, {
  onReleaseRequested: () => process.send?.('wanted'),
})
process.on('message', async (message) => {
  if (message !== 'release') return process.disconnect()
  await lock.release()
  process.send?.('released')
})
process.send?.('held')

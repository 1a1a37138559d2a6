/**
 * Child process that holds a lock: `holder.ts TIMING NAME`, with the environment of a `Place`. Messages to
 * the parent: `held`, `requested` when another request waits for the lock, `released`. On the message
 * `release` it releases the lock; on any other message it disconnects from the parent, after which the
 * process must exit by itself.
 */
import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { createAzureService } from '../../../../lib/stores/object/service/azure/index.ts'
import { createS3Service } from '../../../../lib/stores/object/service/s3/index.ts'

const { STORE, BUCKET: bucket = '', AZURE_STORAGE_CONNECTION_STRING: connection = '' } = process.env
const service =
  STORE === 's3'
    ? createS3Service(new S3Client({}), { bucket })
    : createAzureService(new ContainerClient(connection, bucket))

const [timing = '', name = ''] = process.argv.slice(2)
const lock = await objectLocker(service, JSON.parse(timing)).acquire(name, {
  onReleaseRequested: () => process.send?.('requested'),
})
process.on('message', async (message) => {
  if (message !== 'release') return process.disconnect()
  await lock.release()
  process.send?.('released')
})
process.send?.('held')

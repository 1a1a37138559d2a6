import {
  CreateMultipartUploadCommand,
  ListBucketsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { describe, expect, it, onTestFinished } from 'vitest'
import { azuriteService, temporaryContainer } from '../support/azurite.ts'
import { describeS3, s3Service, temporaryBucket } from '../support/ceph.ts'

/** Makes 20 concurrent attempts; returns the number that succeeded. */
async function countSuccesses(attempt: () => Promise<unknown>): Promise<number> {
  const results = await Promise.allSettled(Array.from({ length: 20 }, attempt))
  return results.filter(({ status }) => status === 'fulfilled').length
}

describeS3('Ceph gateway', () => {
  it('accepts one of 20 concurrent puts with If-None-Match: *', async () => {
    const { client, bucket: Bucket } = await temporaryBucket()
    const put = () => client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a', IfNoneMatch: '*' }))
    expect(await countSuccesses(put)).toBe(1)
  })

  it('does not list a temporary bucket after its test left an object and an unfinished upload in it', async () => {
    const other = new S3Client(await s3Service())
    // Registered first, so vitest calls it last: after the hook of temporaryBucket().
    onTestFinished(async () => {
      const { Buckets = [] } = await other.send(new ListBucketsCommand())
      expect(Buckets.map(({ Name }) => Name)).not.toContain(Bucket)
      other.destroy()
    })
    const { client, bucket: Bucket } = await temporaryBucket()
    await client.send(new PutObjectCommand({ Bucket, Key: 'whole', Body: 'a' }))
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'unfinished' }))
    await client.send(
      new UploadPartCommand({ Bucket, Key: 'unfinished', UploadId, PartNumber: 1, Body: 'b' }),
    )
  })
})

describe('Azurite', () => {
  it('accepts one of 20 concurrent uploads of a blob with If-None-Match: *', async () => {
    const blob = (await temporaryContainer()).getBlockBlobClient('a')
    const put = () => blob.upload('a', 1, { conditions: { ifNoneMatch: '*' } })
    expect(await countSuccesses(put)).toBe(1)
  })

  it('does not keep a temporary container after its test left a blob in it', async () => {
    const connection = await azuriteService()
    // Registered first, so vitest calls it last: after the hook of temporaryContainer().
    onTestFinished(async () => {
      expect(await new ContainerClient(connection, container.containerName).exists()).toBe(false)
    })
    const container = await temporaryContainer()
    await container.getBlockBlobClient('a').upload('a', 1)
  })
})

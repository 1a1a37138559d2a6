import { randomUUID } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { describe, it, onTestFinished } from 'vitest'
import { hasCeph } from '../services/ceph-programs.ts'
import { access } from './service.ts'

const isInstalled = hasCeph()

/**
 * Defines a suite that needs an object service with the S3 API: Ceph's gateway. Where it is missing the suite
 * is skipped and reported; with BITS_TEST_SERVERS=required, as in CI, it fails.
 */
export function describeS3(name: string, suite: () => void): void {
  if (isInstalled) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_SERVERS === 'required') {
    it(name, () => {
      throw new Error('Ceph is missing; .ci/ceph downloads it')
    })
  } else {
    console.warn(`NOT RUN because Ceph is missing (.ci/ceph downloads it): ${name}`)
    describe.skip(name, suite)
  }
}

/**
 * The options of an S3 client of Ceph's gateway, as JSON for other processes. All tests share one gateway.
 */
export const s3Service = (): Promise<S3ClientConfig> => access('ceph')

export interface TemporaryBucket {
  readonly client: S3Client
  readonly bucket: string
}

/** An empty bucket of that gateway, which is removed after the test. */
export async function temporaryBucket(): Promise<TemporaryBucket> {
  const client = new S3Client(await s3Service())
  const bucket = `test-${randomUUID()}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  onTestFinished(async () => {
    await remove(client, bucket)
    client.destroy()
  })
  return { client, bucket }
}

/** Empties the bucket first, because only an empty bucket can be removed. */
async function remove(client: S3Client, bucket: string): Promise<void> {
  for (;;) {
    await empty(client, bucket)
    try {
      await client.send(new DeleteBucketCommand({ Bucket: bucket }))
      return
    } catch (error) {
      // There is another page of objects, or a request of a killed process arrived late.
      if ((error as Error).name !== 'BucketNotEmpty') throw error
    }
  }
}

async function empty(client: S3Client, Bucket: string): Promise<void> {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }))
  for (const { Key, UploadId } of Uploads) {
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  }
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
  if (Contents.length === 0) return
  const Objects = Contents.map(({ Key }) => ({ Key }))
  await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }))
}

import { HeadObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { onTestFinished } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { s3Service, temporaryBucket } from '../../../../support/ceph.ts'
import type { TestedSpace } from '../contract/tested.ts'

/** What the contract suite of object services takes, for a new bucket. */
export async function open(config: S3ClientConfig, conditionalWrites: boolean): Promise<TestedSpace> {
  const { bucket } = await temporaryBucket()
  const client = new S3Client({ ...(await s3Service()), ...config })
  onTestFinished(() => client.destroy())
  const prefix = 'files/'
  const below = (more: string) =>
    createS3Service(client, { bucket, prefix: `${prefix}${more}`, conditionalWrites })
  return {
    space: below(''),
    below,
    async contentType(key) {
      const found = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
      return found.ContentType
    },
  }
}

/**
 * What Ceph's gateway does not support. `percent` is false because its release 16 decodes the key of the object that a
 * part is copied from twice.
 */
export const keeps = { removeIf: false, join: false, percent: false }

/**
 * A store on Amazon S3, or on a service with the same API. It needs `@aws-sdk/client-s3`.
 *
 * @module express-bits-upload/s3
 */

import type { S3Client } from '@aws-sdk/client-s3'
import { checkBoolean, optionError } from '../../validate.ts'
import type { Store } from '../store.ts'
import { type ObjectStoreOptions, objectStore, readObjectStoreOptions } from './options.ts'
import { createS3Service } from './service/s3/index.ts'

/** Options of {@link s3Store}. */
export interface S3StoreOptions extends ObjectStoreOptions {
  /**
   * Required. Determines region, endpoint and credentials, which need `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`,
   * `s3:AbortMultipartUpload` and `s3:ListMultipartUploadParts`, and for the bucket `s3:ListBucket` and `s3:ListBucketMultipartUploads`.
   */
  readonly client: S3Client
  /** Required. The name of an existing bucket, not the ARN of an access point. It may have other objects, too. */
  readonly bucket: string
  /**
   * Whether the service supports `If-None-Match` and `If-Match` of a PUT, as Amazon S3, Ceph, MinIO and R2
   * do. It is checked when the first session is created. Default: true. With false no conditions are sent,
   * and only one process may use the bucket (with this prefix): whether a file exists is then checked before
   * it is published, not in the same step.
   */
  readonly conditionalWrites?: boolean
  /**
   * Whether all parts of a multipart upload, except the last, must have the same size, as R2 requires. Bytes that do not fill a
   * part are then written twice. Default: false.
   */
  readonly equalParts?: boolean
}

/**
 * Stores uploads in a bucket of Amazon S3, or of a service with the same API, which any number of processes and
 * machines may share. A published file is the object `<prefix><name>`, with the content type of its file name extension and
 * with the metadata `session`, `size` and `owner` (up to a kilobyte). All other objects of the store are below `<prefix>.bits-sessions/`.
 *
 * @example app.use('/upload', bitsUpload({ store: s3Store({ client: new S3Client({}), bucket: 'incoming' }) }))
 * @throws {TypeError} if an option is missing, unknown or out of range
 */
export function s3Store(options: S3StoreOptions): Store {
  const read = readObjectStoreOptions('s3Store', options, [
    'client',
    'bucket',
    'conditionalWrites',
    'equalParts',
  ])
  const { client, bucket, conditionalWrites = true, equalParts = false } = options
  if (typeof client?.send !== 'function') {
    throw optionError('s3Store', 'client', "an S3Client of '@aws-sdk/client-s3'", client)
  }
  if (typeof bucket !== 'string' || bucket === '') {
    throw optionError('s3Store', 'bucket', 'the name of a bucket', bucket)
  }
  checkBoolean('s3Store', 'conditionalWrites', conditionalWrites)
  checkBoolean('s3Store', 'equalParts', equalParts)
  const service = createS3Service(client, { bucket, prefix: read.prefix, conditionalWrites, equalParts })
  return objectStore(service, read)
}

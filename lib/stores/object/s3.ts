import type { S3Client } from '@aws-sdk/client-s3'
import type { Store } from '../store.ts'
import { type ObjectStoreOptions, objectStore, readObjectStoreOptions } from './options.ts'
import { createS3Service } from './service/s3/index.ts'

/** Options of {@link s3Store}. */
export interface S3StoreOptions extends ObjectStoreOptions {
  /** How the service is reached: region, credentials, endpoint and the like are its business. */
  readonly client: S3Client
  /** A bucket that is there. It may hold other things, too. */
  readonly bucket: string
  /**
   * Whether the service keeps `If-None-Match` and `If-Match` of a PUT, as Amazon S3, Ceph, MinIO and R2 do; it is asked when
   * the first session begins. Default: true. With false none are sent, and one process alone may use the bucket (and
   * prefix): that no file replaces another is then checked just before it appears, not in the same step.
   */
  readonly conditionalWrites?: boolean
}

/**
 * Keeps uploads in a bucket of Amazon S3, or of a service that speaks its protocol: any number of processes and machines
 * may share it. A finished file is the object `<prefix><name>`, with its content type, and with `session`, `size` and
 * `owner` as metadata; all else lies below `<prefix>.bits-sessions/`.
 *
 * @example app.use('/upload', bitsUpload({ store: s3Store({ client: new S3Client({}), bucket: 'incoming' }) }))
 * @throws {TypeError} if an option is missing, unknown or out of range
 */
export function s3Store(options: S3StoreOptions): Store {
  const read = readObjectStoreOptions('s3Store', options, ['client', 'bucket', 'conditionalWrites'])
  const { client, bucket, conditionalWrites = true, locker } = options
  if (typeof client?.send !== 'function') {
    throw new TypeError("s3Store: client is an S3Client of '@aws-sdk/client-s3'")
  }
  if (typeof bucket !== 'string' || bucket === '')
    throw new TypeError('s3Store: bucket is the name of a bucket')
  if (typeof conditionalWrites !== 'boolean')
    throw new TypeError('s3Store: conditionalWrites is true or false')
  if (!conditionalWrites && locker) {
    throw new TypeError(
      's3Store: a locker is of no use with conditionalWrites: false, which leaves the bucket to one process',
    )
  }
  const service = createS3Service(client, { bucket, prefix: read.prefix, conditionalWrites })
  return objectStore(service, read, { locker, isShared: conditionalWrites })
}

import type { S3Client } from '@aws-sdk/client-s3'
import { keyedMutex } from '../parallel.ts'
import type { ObjectService, Precondition } from '../service.ts'
import { folders, listObjects } from './list.ts'
import { abandon, join } from './multipart.ts'
import {
  assertPrecondition,
  type ConditionFields,
  fieldsOf,
  get,
  head,
  put,
  readObject,
  remove,
  removeIf,
} from './objects.ts'
import { probeConditionalWrites } from './probe.ts'
import { type Bucket, type EtagForm, quoted } from './requests.ts'

export interface S3SpaceOptions {
  readonly bucket: string
  /** What all keys begin with, `uploads/` for example; '' by default. */
  readonly prefix?: string
  /**
   * Whether the service sees to the conditions of writes; true by default, and found out by `prepare`. False for a
   * service that does not: conditions are then checked before, so that only one process may use what is below the prefix.
   */
  readonly conditionalWrites?: boolean
}

/**
 * A bucket of S3, or of a service that speaks its API, below a prefix.
 *
 * Its credentials need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, and for the bucket
 * s3:ListBucket (without which S3 says of what is not there that it is forbidden) and s3:ListBucketMultipartUploads.
 *
 * An object that was written on a condition, or joined, has a metadata value of ours, `bits-write`, which tells its
 * writer that it was he; it is in nobody's `head`.
 *
 * @param client is used as it is, with its timeouts, retries and checksums, and is not destroyed
 */
export function createS3Service(client: S3Client, options: S3SpaceOptions): ObjectService {
  const { prefix = '', conditionalWrites = true } = options
  const bucket: Bucket = { client, name: options.bucket, prefix }
  const inTurn = keyedMutex()
  let probed: Promise<EtagForm> | undefined

  const etagForm = (): Promise<EtagForm> => {
    probed ??= probeConditionalWrites(bucket, conditionalWrites).catch((error) => {
      probed = undefined
      throw error
    })
    return probed
  }

  const fields = async (condition: Precondition | undefined): Promise<ConditionFields> => {
    if (!conditionalWrites) return {}
    return fieldsOf(condition, typeof condition === 'object' ? await etagForm() : quoted)
  }

  return {
    // "5 MiB to 5 GiB. There is no minimum size limit on the last part of your multipart upload" (S3 user guide).
    minSource: 5 * 2 ** 20,
    maxSources: 10_000,

    async prepare() {
      await etagForm()
    },

    async put(key, chunks, options = {}) {
      const { condition, signal } = options
      if (conditionalWrites) return put(bucket, key, chunks, options, await fields(condition))
      return inTurn(key, async () => {
        await assertPrecondition(bucket, key, condition, signal)
        return put(bucket, key, chunks, options, {})
      })
    },

    get: (key, options) => get(bucket, key, options),
    head: (key, options) => head(bucket, key, options),
    read: (key, first, last) => readObject(bucket, key, first, last),
    list: (prefix, options) => listObjects(bucket, prefix, options),
    folders: (prefix, options) => folders(bucket, prefix, options),
    remove: (keys, options) => remove(bucket, keys, options),

    async removeIfVersion(key, version, options) {
      const { IfMatch } = await fields({ version })
      await removeIf(bucket, key, IfMatch, options)
    },

    async compose(sources, key, options = {}) {
      await join(bucket, sources, key, options, await fields(options.condition))
    },

    abortUploads: (key, options) => abandon(bucket, key, options),
  }
}

import type { S3Client } from '@aws-sdk/client-s3'
import { keyedMutex } from '../parallel.ts'
import type { ObjectService, Precondition } from '../service.ts'
import { listFolders, listObjects } from './list.ts'
import { abortMultipartUploads, composeObject } from './multipart.ts'
import {
  assertObjectPrecondition,
  type ConditionFields,
  findObject,
  getObject,
  putObject,
  readObject,
  removeObjectIf,
  removeObjects,
  toConditionFields,
} from './objects.ts'
import { probeConditionalWrites } from './probe.ts'
import { type Bucket, type EtagForm, quotedEtag } from './requests.ts'

export interface S3ServiceOptions {
  readonly bucket: string
  /** Prefix of all keys, for example `uploads/`. Default: none */
  readonly prefix?: string
  /**
   * Whether the service supports conditions of writes, which `prepare` checks. Default: true. With false,
   * conditions are checked before a write, and only one process may use the bucket below the prefix.
   */
  readonly conditionalWrites?: boolean
}

/**
 * The object service in a bucket of S3, or of a service with the same API.
 *
 * The credentials need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload, and for the
 * bucket s3:ListBucket (without which S3 reports a missing object as forbidden) and
 * s3:ListBucketMultipartUploads.
 *
 * An object that was written on a condition, or composed, has an additional metadata entry `bits-write`, by
 * which its writer recognizes it. `head` does not return that entry.
 *
 * @param client is used with its own timeouts, retries and checksums, and is not destroyed
 */
export function createS3Service(client: S3Client, options: S3ServiceOptions): ObjectService {
  const { prefix = '', conditionalWrites = true } = options
  const bucket: Bucket = { client, name: options.bucket, prefix }
  const runExclusive = keyedMutex()
  let probe: Promise<EtagForm> | undefined

  const etagForm = (): Promise<EtagForm> => {
    probe ??= probeConditionalWrites(bucket, conditionalWrites).catch((error) => {
      probe = undefined
      throw error
    })
    return probe
  }

  const fieldsOf = async (condition: Precondition | undefined): Promise<ConditionFields> => {
    if (!conditionalWrites) return {}
    return toConditionFields(condition, typeof condition === 'object' ? await etagForm() : quotedEtag)
  }

  return {
    // "5 MiB to 5 GiB. There is no minimum size limit on the last part of your multipart upload" (S3 user
    // guide).
    minSourceBytes: 5 * 2 ** 20,
    maxSources: 10_000,

    async prepare() {
      await etagForm()
    },

    async put(key, chunks, options = {}) {
      const { condition, signal } = options
      if (conditionalWrites) return putObject(bucket, key, chunks, options, await fieldsOf(condition))
      return runExclusive(key, async () => {
        await assertObjectPrecondition(bucket, key, condition, signal)
        return putObject(bucket, key, chunks, options, {})
      })
    },

    get: (key, options) => getObject(bucket, key, options),
    head: (key, options) => findObject(bucket, key, options),
    read: (key, first, last) => readObject(bucket, key, first, last),
    list: (prefix, options) => listObjects(bucket, prefix, options),
    folders: (prefix, options) => listFolders(bucket, prefix, options),
    remove: (keys, options) => removeObjects(bucket, keys, options),

    async removeIfVersion(key, version, options) {
      const { IfMatch } = await fieldsOf({ version })
      await removeObjectIf(bucket, key, IfMatch, options)
    },

    async compose(sources, key, options = {}) {
      await composeObject(bucket, sources, key, options, await fieldsOf(options.condition))
    },

    abortUploads: (key, options) => abortMultipartUploads(bucket, key, options),
  }
}

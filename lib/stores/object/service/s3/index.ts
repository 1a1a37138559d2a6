import type { S3Client } from '@aws-sdk/client-s3'
import { keyedMutex } from '../parallel.ts'
import type { ObjectService, Precondition } from '../service.ts'
import { listFolders, listObjects } from './list.ts'
import {
  assertObjectPrecondition,
  type ConditionFields,
  findObject,
  getObject,
  putObject,
  readObject,
  removeObjects,
  toConditionFields,
} from './objects.ts'
import { type ConditionSupport, probeConditionalWrites } from './probe.ts'
import { type Bucket, quotedEtag } from './requests.ts'
import {
  abortS3Upload,
  completeS3Upload,
  copyS3Part,
  createS3Upload,
  listS3Parts,
  listS3Uploads,
  putS3Part,
} from './uploads.ts'

export interface S3ServiceOptions {
  readonly bucket: string
  /** Prefix of all keys, for example `uploads/`. Default: none */
  readonly prefix?: string
  /**
   * Whether the service supports conditions of writes, which `prepare` checks. Default: true. With false,
   * conditions are checked before a write, and only one process may use the bucket below the prefix.
   */
  readonly conditionalWrites?: boolean
  /**
   * Whether all parts of an upload, except the last, must have the same size, as Cloudflare R2 requires. Default:
   * false
   */
  readonly equalParts?: boolean
}

/**
 * The object service in a bucket of S3, or of a service with the same API.
 *
 * The credentials need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and
 * s3:ListMultipartUploadParts, and for the bucket s3:ListBucket (without which S3 reports a missing object as
 * forbidden) and s3:ListBucketMultipartUploads.
 *
 * An object that was written on a condition by one request has an additional metadata entry `bits-write`, by
 * which its writer recognizes it. `head` does not return that entry.
 *
 * @param client is used with its own timeouts, retries and checksums, and is not destroyed
 */
export function createS3Service(client: S3Client, options: S3ServiceOptions): ObjectService {
  const { prefix = '', conditionalWrites = true, equalParts = false } = options
  const bucket: Bucket = { client, name: options.bucket, prefix }
  const runExclusive = keyedMutex()
  let probe: Promise<ConditionSupport> | undefined
  let checksCompletion = !conditionalWrites

  const probed = (): Promise<ConditionSupport> => {
    probe ??= probeConditionalWrites(bucket, conditionalWrites).then(
      (support) => {
        if (conditionalWrites) checksCompletion = support.checksCompletion
        return support
      },
      (error) => {
        probe = undefined
        throw error
      },
    )
    return probe
  }

  const fieldsOf = async (condition: Precondition | undefined): Promise<ConditionFields> => {
    if (!conditionalWrites) return {}
    return toConditionFields(
      condition,
      typeof condition === 'object' ? (await probed()).etagForm : quotedEtag,
    )
  }

  return {
    // "5 MiB to 5 GiB. There is no minimum size limit on the last part of your multipart upload" (S3 user
    // guide).
    minPartBytes: 5 * 2 ** 20,
    maxParts: 10_000,
    keepsUploads: true,
    equalParts,
    get checksCompletion() {
      return checksCompletion
    },

    async prepare() {
      await probed()
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

    createUpload: (key, options) => createS3Upload(bucket, key, options),
    putPart: (key, part, chunks, options) => putS3Part(bucket, key, part, chunks, options),
    copyPart: (key, part, source, options) => copyS3Part(bucket, key, part, source, options),
    listParts: (key, upload, options) => listS3Parts(bucket, key, upload, options),

    async completeUpload(key, upload, tags, options = {}) {
      const { condition, signal } = options
      const complete = (fields: ConditionFields): Promise<void> =>
        completeS3Upload(bucket, key, upload, tags, options, fields)
      if (conditionalWrites) {
        if (!condition) return complete({})
        const support = await probed()
        return complete(support.checksCompletion ? toConditionFields(condition, support.etagForm) : {})
      }
      return runExclusive(key, async () => {
        await assertObjectPrecondition(bucket, key, condition, signal)
        await complete({})
      })
    },

    abortUpload: (key, upload, options) => abortS3Upload(bucket, key, upload, options),
    listUploads: (prefix, options) => listS3Uploads(bucket, prefix, options),
  }
}

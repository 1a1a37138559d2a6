import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { inParallel } from '../parallel.ts'
import {
  abortOptions,
  type ComposeSource,
  conditionFailed,
  ObjectMissing,
  objectMissing,
  type PutOptions,
  type ServiceOptions,
} from '../service.ts'
import { assertObjectPrecondition, type ConditionFields, headObject } from './objects.ts'
import {
  attributeParams,
  type Bucket,
  copySourceParams,
  hasWriteToken,
  isConflict,
  isKeyMissing,
  isS3PreconditionFailed,
  isUploadMissing,
  newWriteToken,
  objectParams,
} from './requests.ts'

/** Copies at a time. */
const MaxCopies = 8
/** A failed compose call waits at most this long for the removal of its parts. */
const CleanupTimeoutMs = 10_000
/** Uploads that are aborted at a time. */
const MaxAborts = 8

/** The object that is composed. */
interface ComposeTarget {
  readonly key: string
  /** Attributes and write token. */
  readonly attributes: ReturnType<typeof attributeParams>
  readonly fields: ConditionFields
  readonly signal: AbortSignal | undefined
}

export async function composeObject(
  bucket: Bucket,
  sources: readonly ComposeSource[],
  key: string,
  { condition, attributes, signal }: PutOptions,
  fields: ConditionFields,
): Promise<void> {
  const assertCondition = () => assertObjectPrecondition(bucket, key, condition, signal)
  // Services that do not support conditions of copies and completions ignore them.
  await assertCondition()
  const token = newWriteToken()
  const target: ComposeTarget = { key, attributes: attributeParams(attributes, token), fields, signal }
  const [first] = sources
  try {
    if (first && sources.length === 1) await copyObject(bucket, first, target)
    else await composeByMultipart(bucket, sources, target, assertCondition)
  } catch (error) {
    if (error instanceof ObjectMissing || signal?.aborted) throw error
    // The SDK repeats a request whose response was lost. If the first one succeeded, only the repetition
    // failed.
    const found = await headObject(bucket, key, signal).catch(() => undefined)
    if (found && hasWriteToken(found.Metadata, token)) return
    throw isS3PreconditionFailed(error) || isConflict(error) ? conditionFailed(key, error) : error
  }
}

async function copyObject(
  bucket: Bucket,
  source: ComposeSource,
  { key, attributes, fields, signal }: ComposeTarget,
): Promise<void> {
  const command = new CopyObjectCommand({
    ...objectParams(bucket, key),
    ...copySourceParams(bucket, source.key),
    ...attributes,
    ...fields,
    MetadataDirective: 'REPLACE',
  })
  const { CopyObjectResult } = await mapCopyError(source, bucket.client.send(command, abortOptions(signal)))
  assertResult(key, CopyObjectResult?.ETag)
}

/** @param assertCondition checks the condition again after the copies, which may take hours */
async function composeByMultipart(
  bucket: Bucket,
  sources: readonly ComposeSource[],
  { key, attributes, fields, signal }: ComposeTarget,
  assertCondition: () => Promise<void>,
): Promise<void> {
  const { client } = bucket
  const create = new CreateMultipartUploadCommand({ ...objectParams(bucket, key), ...attributes })
  const { UploadId } = await client.send(create, abortOptions(signal))
  const upload = { ...objectParams(bucket, key), UploadId }
  try {
    const Parts = await inParallel(sources, MaxCopies, signal, async (source, either, index) => {
      const PartNumber = index + 1
      const part = new UploadPartCopyCommand({
        ...upload,
        ...copySourceParams(bucket, source.key),
        PartNumber,
      })
      const { CopyPartResult } = await mapCopyError(source, client.send(part, abortOptions(either)))
      return { PartNumber, ETag: CopyPartResult?.ETag }
    })
    await assertCondition()
    const complete = new CompleteMultipartUploadCommand({ ...upload, ...fields, MultipartUpload: { Parts } })
    const { ETag } = await client.send(complete, abortOptions(signal))
    assertResult(key, ETag)
  } catch (error) {
    const abort = new AbortMultipartUploadCommand(upload)
    await client.send(abort, abortOptions(AbortSignal.timeout(CleanupTimeoutMs))).catch(() => {})
    throw error
  }
}

/**
 * S3 sends status 200 before it copies, and an error that occurs later in the body. The SDK finds that error
 * only if the body ends with it.
 * @param etag undefined if the response has no result; empty if the service (Ceph) does not know it yet
 */
function assertResult(key: string, etag: string | undefined): void {
  if (etag === undefined) throw new Error(`S3 did not report whether it created ${key}`)
}

/** Reports a missing source as {@link ObjectMissing}. */
async function mapCopyError<Response>(
  { key }: ComposeSource,
  response: Promise<Response>,
): Promise<Response> {
  try {
    return await response
  } catch (error) {
    if (isKeyMissing(error)) throw objectMissing(key, error)
    throw error
  }
}

/**
 * Aborts the multipart uploads to a key, or below it if it ends with `/` or is empty. Uploads to longer keys
 * that begin with the key may belong to other applications, and may be in progress.
 */
export async function abortMultipartUploads(
  bucket: Bucket,
  key: string,
  { signal }: ServiceOptions = {},
): Promise<void> {
  const { client, name } = bucket
  const fullKey = objectParams(bucket, key).Key
  const isPrefix = key === '' || key.endsWith('/')
  let page: ListMultipartUploadsCommandOutput | undefined
  do {
    // Without EncodingType: Ceph encodes the keys but not the marker, and leaves EncodingType out of its
    // response.
    const command = new ListMultipartUploadsCommand({
      Bucket: name,
      Prefix: fullKey,
      KeyMarker: page?.NextKeyMarker,
      UploadIdMarker: page?.NextUploadIdMarker,
    })
    page = await client.send(command, abortOptions(signal))
    const uploads = (page.Uploads ?? []).filter(({ Key }) => isPrefix || Key === fullKey)
    await inParallel(uploads, MaxAborts, signal, async ({ Key, UploadId }, either) => {
      const abort = new AbortMultipartUploadCommand({ Bucket: name, Key, UploadId })
      await client.send(abort, abortOptions(either)).catch((error) => {
        if (!isUploadMissing(error)) throw error
      })
    })
  } while (page.IsTruncated)
}

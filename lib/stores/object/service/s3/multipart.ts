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
import { type ComposeSource, ObjectMissing, type PutOptions, type ServiceOptions } from '../service.ts'
import { attributeParams, hasWriteToken, newWriteToken } from './metadata.ts'
import { assertPrecondition, type ConditionFields, conditionFailed, headObject } from './objects.ts'
import {
  abortOptions,
  type Bucket,
  copySourceParams,
  isConflict,
  isKeyMissing,
  isPreconditionFailed,
  isUploadMissing,
  objectParams,
} from './requests.ts'

/** Copies at a time. */
const MaxCopies = 8
/** How long a join that failed waits for its parts to be cleared away, in milliseconds. */
const CleanupTimeoutMs = 10_000

/** What is to become of the sources. */
interface Join {
  readonly key: string
  /** The description, with the join's mark. */
  readonly described: ReturnType<typeof attributeParams>
  readonly fields: ConditionFields
  readonly signal: AbortSignal | undefined
}

export async function join(
  bucket: Bucket,
  sources: readonly ComposeSource[],
  key: string,
  { condition, description, signal }: PutOptions,
  fields: ConditionFields,
): Promise<void> {
  // Services that do not know conditions on copies and completions ignore them.
  await assertPrecondition(bucket, key, condition, signal)
  const mark = newWriteToken()
  const into: Join = { key, described: attributeParams(description, mark), fields, signal }
  const [only] = sources
  try {
    if (only && sources.length === 1) await copy(bucket, only, into)
    else
      await composeByMultipart(bucket, sources, into, () =>
        assertPrecondition(bucket, key, condition, signal),
      )
  } catch (error) {
    if (error instanceof ObjectMissing || signal?.aborted) throw error
    // The failure may be that of a repeated request, when the first has succeeded and only its answer was lost.
    const found = await headObject(bucket, key, signal).catch(() => undefined)
    if (found && hasWriteToken(found.Metadata, mark)) return
    throw isPreconditionFailed(error) || isConflict(error) ? conditionFailed(key, error) : error
  }
}

async function copy(
  bucket: Bucket,
  source: ComposeSource,
  { key, described, fields, signal }: Join,
): Promise<void> {
  const command = new CopyObjectCommand({
    ...objectParams(bucket, key),
    ...copySourceParams(bucket, source.key),
    ...described,
    ...fields,
    MetadataDirective: 'REPLACE',
  })
  const { CopyObjectResult } = await mapCopyError(source, bucket.client.send(command, abortOptions(signal)))
  assertResult(key, CopyObjectResult?.ETag)
}

/** @param confirm to copy may take hours: asks once more whether the join may appear */
async function composeByMultipart(
  bucket: Bucket,
  sources: readonly ComposeSource[],
  into: Join,
  confirm: () => Promise<void>,
): Promise<void> {
  const { client } = bucket
  const { key, described, fields, signal } = into
  const create = new CreateMultipartUploadCommand({ ...objectParams(bucket, key), ...described })
  const { UploadId } = await client.send(create, abortOptions(signal))
  const upload = { ...objectParams(bucket, key), UploadId }
  try {
    const Parts = await inParallel(sources, MaxCopies, signal, async (source, stop, index) => {
      const PartNumber = index + 1
      const part = new UploadPartCopyCommand({
        ...upload,
        ...copySourceParams(bucket, source.key),
        PartNumber,
      })
      const { CopyPartResult } = await mapCopyError(source, client.send(part, abortOptions(stop)))
      return { PartNumber, ETag: CopyPartResult?.ETag }
    })
    await confirm()
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
 * S3 answers 200 before it has copied, and may tell an error behind it, which the SDK finds if the answer ends with it.
 * @param etag undefined if the answer is no result; empty if the service (Ceph) does not know it yet
 */
function assertResult(key: string, etag: string | undefined): void {
  if (etag === undefined) throw new Error(`S3 did not tell whether it has made ${key}`)
}

/** The answer to a copy. */
async function mapCopyError<Answer>({ key }: ComposeSource, answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer
  } catch (error) {
    if (isKeyMissing(error)) throw new ObjectMissing(`There is no object ${key}`, { cause: error })
    throw error
  }
}

/** Requests at a time. */
const MaxAborts = 8

/** Aborts the multipart uploads to a key, or below it. Others to keys that begin so may be anybody's, and alive. */
export async function abandon(bucket: Bucket, key: string, { signal }: ServiceOptions = {}): Promise<void> {
  const { client, name } = bucket
  const begin = objectParams(bucket, key).Key
  const isBelow = key === '' || key.endsWith('/')
  let page: ListMultipartUploadsCommandOutput | undefined
  do {
    // No EncodingType: Ceph encodes the keys then, but not the marker, and does not say that it does.
    const command = new ListMultipartUploadsCommand({
      Bucket: name,
      Prefix: begin,
      KeyMarker: page?.NextKeyMarker,
      UploadIdMarker: page?.NextUploadIdMarker,
    })
    page = await client.send(command, abortOptions(signal))
    const uploads = (page.Uploads ?? []).filter(({ Key }) => isBelow || Key === begin)
    await inParallel(uploads, MaxAborts, signal, async ({ Key, UploadId }, stop) => {
      const abort = new AbortMultipartUploadCommand({ Bucket: name, Key, UploadId })
      await client.send(abort, abortOptions(stop)).catch((error) => {
        if (!isUploadMissing(error)) throw error
      })
    })
  } while (page.IsTruncated)
}

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { inParallel } from '../parallel.ts'
import { ObjectMissing, type PutOptions, type Source } from '../space.ts'
import { at, type Bucket, sourceAt, until } from './bucket.ts'
import { type ConditionFields, check, conditionFailed } from './conditions.ts'
import { isConflict, isMissing, isPreconditionFailed } from './errors.ts'
import { describe, isMarked, newMark } from './metadata.ts'
import { look } from './read.ts'

/** Copies at a time. */
const inFlight = 8
/** How long a join that failed waits for its parts to be cleared away, in milliseconds. */
const patience = 10_000

/** What is to become of the sources. */
interface Join {
  readonly key: string
  /** The description, with the join's mark. */
  readonly described: ReturnType<typeof describe>
  readonly fields: ConditionFields
  readonly signal: AbortSignal | undefined
}

export async function join(
  bucket: Bucket,
  sources: readonly Source[],
  key: string,
  { condition, description, signal }: PutOptions,
  fields: ConditionFields,
): Promise<void> {
  // Services that do not know conditions on copies and completions ignore them.
  await check(bucket, key, condition, signal)
  const mark = newMark()
  const into: Join = { key, described: describe(description, mark), fields, signal }
  const [only] = sources
  try {
    if (only && sources.length === 1) await copy(bucket, only, into)
    else await assemble(bucket, sources, into, () => check(bucket, key, condition, signal))
  } catch (error) {
    if (error instanceof ObjectMissing || signal?.aborted) throw error
    // The failure may be that of a repeated request, when the first has succeeded and only its answer was lost.
    const found = await look(bucket, key, signal).catch(() => undefined)
    if (found && isMarked(found.Metadata, mark)) return
    throw isPreconditionFailed(error) || isConflict(error) ? conditionFailed(key, error) : error
  }
}

async function copy(bucket: Bucket, source: Source, { key, described, fields, signal }: Join): Promise<void> {
  const command = new CopyObjectCommand({
    ...at(bucket, key),
    ...sourceAt(bucket, source.key),
    ...described,
    ...fields,
    MetadataDirective: 'REPLACE',
  })
  const { CopyObjectResult } = await copied(source, bucket.client.send(command, until(signal)))
  checkTold(key, CopyObjectResult?.ETag)
}

/** @param confirm to copy may take hours: asks once more whether the join may appear */
async function assemble(
  bucket: Bucket,
  sources: readonly Source[],
  into: Join,
  confirm: () => Promise<void>,
): Promise<void> {
  const { client } = bucket
  const { key, described, fields, signal } = into
  const create = new CreateMultipartUploadCommand({ ...at(bucket, key), ...described })
  const { UploadId } = await client.send(create, until(signal))
  const upload = { ...at(bucket, key), UploadId }
  try {
    const Parts = await inParallel(sources, inFlight, signal, async (source, stop, index) => {
      const PartNumber = index + 1
      const part = new UploadPartCopyCommand({ ...upload, ...sourceAt(bucket, source.key), PartNumber })
      const { CopyPartResult } = await copied(source, client.send(part, until(stop)))
      return { PartNumber, ETag: CopyPartResult?.ETag }
    })
    await confirm()
    const complete = new CompleteMultipartUploadCommand({ ...upload, ...fields, MultipartUpload: { Parts } })
    const { ETag } = await client.send(complete, until(signal))
    checkTold(key, ETag)
  } catch (error) {
    const abort = new AbortMultipartUploadCommand(upload)
    await client.send(abort, until(AbortSignal.timeout(patience))).catch(() => {})
    throw error
  }
}

/**
 * S3 answers 200 before it has copied, and may tell an error behind it, which the SDK finds if the answer ends with it.
 * @param etag undefined if the answer is no result; empty if the service (Ceph) does not know it yet
 */
function checkTold(key: string, etag: string | undefined): void {
  if (etag === undefined) throw new Error(`S3 did not tell whether it has made ${key}`)
}

/** The answer to a copy. */
async function copied<Answer>({ key }: Source, answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer
  } catch (error) {
    if (isMissing(error)) throw new ObjectMissing(`There is no object ${key}`, { cause: error })
    throw error
  }
}

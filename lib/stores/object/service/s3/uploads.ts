/** Uploads in parts: multipart uploads of S3. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import {
  abortOptions,
  type ComposeSource,
  type CreatedUpload,
  conditionFailed,
  type ListedUpload,
  type ObjectAttributes,
  objectMissing,
  type PartPlace,
  partsChanged,
  type ServiceOptions,
  uploadMissing,
} from '../service.ts'
import { s3Body } from './body.ts'
import type { ConditionFields } from './objects.ts'
import {
  assertResult,
  attributeParams,
  type Bucket,
  copySourceParams,
  isConflict,
  isInternalError,
  isKeyMissing,
  isPartChanged,
  isS3PreconditionFailed,
  isUploadMissing,
  objectParams,
  quotedEtag,
  versionOf,
} from './requests.ts'

export async function createS3Upload(
  bucket: Bucket,
  key: string,
  { attributes, signal }: ServiceOptions & { readonly attributes?: ObjectAttributes } = {},
): Promise<CreatedUpload> {
  const command = new CreateMultipartUploadCommand({
    ...objectParams(bucket, key),
    ...attributeParams(attributes, undefined),
  })
  const { UploadId, $metadata } = await bucket.client.send(command, abortOptions(signal))
  if (!UploadId) throw new Error(`S3 did not report the id of the upload to ${key}`)
  return { id: UploadId, isRepeated: $metadata.attempts !== 1 }
}

export async function putS3Part(
  bucket: Bucket,
  key: string,
  part: PartPlace,
  chunks: readonly Uint8Array[],
  { signal }: ServiceOptions = {},
): Promise<string> {
  const body = await s3Body(bucket.client, chunks)
  const command = new UploadPartCommand({ ...partParams(bucket, key, part), ...body.fields })
  body.prepare(command)
  try {
    return tagOf(key, await bucket.client.send(command, abortOptions(signal)))
  } catch (error) {
    throw isUploadMissing(error) ? uploadMissing(key, error) : error
  }
}

export async function copyS3Part(
  bucket: Bucket,
  key: string,
  part: PartPlace,
  source: ComposeSource,
  { signal }: ServiceOptions = {},
): Promise<string> {
  const command = new UploadPartCopyCommand({
    ...partParams(bucket, key, part),
    ...copySourceParams(bucket, source.key),
  })
  try {
    const { CopyPartResult } = await bucket.client.send(command, abortOptions(signal))
    return tagOf(key, CopyPartResult)
  } catch (error) {
    if (isUploadMissing(error)) throw uploadMissing(key, error)
    throw isKeyMissing(error) ? objectMissing(source.key, error) : error
  }
}

/** The tags of the parts, each at the index of its number minus 1. */
export async function listS3Parts(
  bucket: Bucket,
  key: string,
  upload: string,
  { signal }: ServiceOptions = {},
): Promise<(string | undefined)[] | undefined> {
  const tags: (string | undefined)[] = []
  let page: ListPartsCommandOutput | undefined
  try {
    do {
      const command = new ListPartsCommand({
        ...uploadParams(bucket, key, upload),
        PartNumberMarker: page?.NextPartNumberMarker,
      })
      page = await bucket.client.send(command, abortOptions(signal))
      for (const part of page.Parts ?? []) {
        // An array from which numbers are missing has holes.
        const index = (part.PartNumber ?? 0) - 1
        while (tags.length < index) tags.push(undefined)
        tags[index] = versionOf(part)
      }
    } while (page.IsTruncated)
    return tags
  } catch (error) {
    // Ceph reports NoSuchKey.
    if (isUploadMissing(error) || isKeyMissing(error)) return undefined
    throw error
  }
}

/**
 * Times that a completion is sent while other requests for the same object conflict with it. According to the
 * S3 API reference the client then has to create a new upload and to send all parts again, so that a
 * repetition may fail with NoSuchUpload.
 */
const MaxCompletions = 2

/**
 * If the SDK repeats the request because its response was lost, the repetition finds no upload, and the call
 * rejects with `UploadMissing`.
 */
export async function completeS3Upload(
  bucket: Bucket,
  key: string,
  upload: string,
  tags: readonly string[],
  options: ServiceOptions,
  fields: ConditionFields,
): Promise<void> {
  const input = {
    ...uploadParams(bucket, key, upload),
    ...fields,
    MultipartUpload: { Parts: tags.map((tag, i) => ({ PartNumber: i + 1, ETag: quotedEtag(tag) })) },
  }
  for (let sends = 1; ; sends += 1) {
    try {
      const command = new CompleteMultipartUploadCommand(input)
      const { ETag } = await bucket.client.send(command, abortOptions(options.signal))
      assertResult(key, ETag)
      return
    } catch (error) {
      if (isConflict(error) && sends < MaxCompletions) continue
      if (isUploadMissing(error) || isConflict(error)) throw uploadMissing(key, error)
      // Ceph reports a missing upload as InternalError, "This multipart completion is already in progress".
      if (isInternalError(error) && !(await listS3Parts(bucket, key, upload, options))) {
        throw uploadMissing(key, error)
      }
      if (isPartChanged(error)) throw partsChanged(key, error)
      throw isS3PreconditionFailed(error) ? conditionFailed(key, error) : error
    }
  }
}

export async function abortS3Upload(
  bucket: Bucket,
  key: string,
  upload: string,
  { signal }: ServiceOptions = {},
): Promise<void> {
  const command = new AbortMultipartUploadCommand(uploadParams(bucket, key, upload))
  try {
    await bucket.client.send(command, abortOptions(signal))
  } catch (error) {
    if (!isUploadMissing(error)) throw error
  }
}

export async function* listS3Uploads(
  bucket: Bucket,
  prefix: string,
  { signal }: ServiceOptions = {},
): AsyncGenerator<ListedUpload> {
  let page: ListMultipartUploadsCommandOutput | undefined
  do {
    // Without EncodingType: Ceph encodes the keys but not the marker, and leaves EncodingType out of its
    // response.
    const command = new ListMultipartUploadsCommand({
      Bucket: bucket.name,
      Prefix: `${bucket.prefix}${prefix}`,
      KeyMarker: page?.NextKeyMarker,
      UploadIdMarker: page?.NextUploadIdMarker,
    })
    page = await bucket.client.send(command, abortOptions(signal))
    for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
      yield { key: Key.slice(bucket.prefix.length), id: UploadId, created: Initiated?.getTime() ?? 0 }
    }
  } while (page.IsTruncated)
}

const uploadParams = (bucket: Bucket, key: string, upload: string) => ({
  ...objectParams(bucket, key),
  UploadId: upload,
})

const partParams = (bucket: Bucket, key: string, { upload, number }: PartPlace) => ({
  ...uploadParams(bucket, key, upload),
  PartNumber: number,
})

/** The tag of a part: its ETag, without the quotes. */
function tagOf(key: string, result: { readonly ETag?: string | undefined } = {}): string {
  const tag = versionOf(result)
  if (!tag) throw new Error(`S3 did not report the ETag of a part of ${key}`)
  return tag
}

import { Readable } from 'node:stream'
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { inParallel } from '../parallel.ts'
import {
  abortOptions,
  conditionFailed,
  type FoundObject,
  objectMissing,
  type Precondition,
  type PutOptions,
  type ServiceOptions,
} from '../service.ts'
import { s3Body } from './body.ts'
import {
  attributeParams,
  type Bucket,
  type EtagForm,
  hasWriteToken,
  isConflict,
  isKeyMissing,
  isS3PreconditionFailed,
  isUnsupported,
  metadataOf,
  newWriteToken,
  objectParams,
  versionOf,
  wasRepeated,
} from './requests.ts'

/** Times that a conditional write is sent while other requests for the same object conflict with it. */
const MaxSends = 4
/** Largest number of objects that one request can remove. */
const MaxKeysPerRemoval = 1000
/** Requests at a time that each remove one object. */
const MaxRemovals = 8

export async function getObject(bucket: Bucket, key: string, { signal }: ServiceOptions = {}) {
  const response = await orUndefinedIfMissing(
    bucket.client.send(new GetObjectCommand(objectParams(bucket, key)), abortOptions(signal)),
  )
  if (!response) return undefined
  const bytes = Buffer.from((await response.Body?.transformToByteArray()) ?? [])
  return { bytes, version: versionOf(response) }
}

export async function findObject(
  bucket: Bucket,
  key: string,
  { signal }: ServiceOptions = {},
): Promise<FoundObject | undefined> {
  const response = await headObject(bucket, key, signal)
  return (
    response && {
      size: response.ContentLength ?? 0,
      version: versionOf(response),
      modified: response.LastModified?.getTime() ?? 0,
      metadata: metadataOf(response.Metadata),
    }
  )
}

/** The response to HEAD, with the write token; undefined if the object does not exist. */
export const headObject = (
  bucket: Bucket,
  key: string,
  signal: AbortSignal | undefined,
): Promise<HeadObjectCommandOutput | undefined> =>
  orUndefinedIfMissing(
    bucket.client.send(new HeadObjectCommand(objectParams(bucket, key)), abortOptions(signal)),
  )

/**
 * The stream fails with the service's error for an invalid range (`last` before `first`, or `first` behind
 * the end).
 */
export function readObject(bucket: Bucket, key: string, first: number, last: number): Readable {
  const controller = new AbortController()
  let chunks: AsyncIterator<Uint8Array> | undefined
  const request = async (): Promise<AsyncIterator<Uint8Array>> => {
    const command = new GetObjectCommand({ ...objectParams(bucket, key), Range: `bytes=${first}-${last}` })
    const sent = bucket.client.send(command, abortOptions(controller.signal))
    const response = await orUndefinedIfMissing(sent)
    if (!response) throw objectMissing(key)
    return (response.Body as Readable)[Symbol.asyncIterator]()
  }
  return new Readable({
    async read() {
      try {
        chunks ??= await request()
        const { done, value } = await chunks.next()
        this.push(done ? null : value)
      } catch (error) {
        this.destroy(error as Error)
      }
    },
    // The signal ends the request before and after its response has started.
    destroy(error, callback) {
      controller.abort()
      callback(error)
    },
  })
}

export async function putObject(
  bucket: Bucket,
  key: string,
  chunks: readonly Uint8Array[],
  { condition, attributes, signal }: PutOptions,
  fields: ConditionFields,
): Promise<string> {
  const token = condition && newWriteToken()
  const input = { ...objectParams(bucket, key), ...attributeParams(attributes, token), ...fields }
  const body = await s3Body(bucket.client, chunks)
  for (let sends = 1; ; sends += 1) {
    try {
      const command = new PutObjectCommand({ ...input, ...body.fields })
      body.prepare(command)
      return versionOf(await bucket.client.send(command, abortOptions(signal)))
    } catch (error) {
      if (!token) throw error
      // The condition was not decided. "On a 409 failure, retry the upload" (S3 API, PutObject).
      if (isConflict(error) && sends < MaxSends) continue
      if (!isConflict(error) && !isS3PreconditionFailed(error) && !isKeyMissing(error)) throw error
      const found = sends > 1 || wasRepeated(error) ? await headObject(bucket, key, signal) : undefined
      if (found && hasWriteToken(found.Metadata, token)) return versionOf(found)
      throw conditionFailed(key, error)
    }
  }
}

export async function removeObjects(
  bucket: Bucket,
  keys: readonly string[],
  { signal }: ServiceOptions = {},
): Promise<void> {
  for (let first = 0; first < keys.length; first += MaxKeysPerRemoval) {
    const batch = keys.slice(first, first + MaxKeysPerRemoval)
    if (batch.length === 1 || !(await removeBatch(bucket, batch, signal))) {
      await inParallel(batch, MaxRemovals, signal, (key, either) => removeObject(bucket, key, either))
    }
  }
}

/**
 * Removes objects by one request.
 * @returns false if the service does not support it: some services do not implement it, and some require a
 *   Content-MD5, which the SDK no longer sends
 */
async function removeBatch(
  bucket: Bucket,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const objects = keys.map((key) => ({ Key: objectParams(bucket, key).Key }))
  const command = new DeleteObjectsCommand({ Bucket: bucket.name, Delete: { Objects: objects, Quiet: true } })
  try {
    const { Errors = [] } = await bucket.client.send(command, abortOptions(signal))
    const error = Errors.find(({ Code }) => Code !== 'NoSuchKey')
    if (error) throw new Error(`${error.Code}: ${error.Key} was not removed: ${error.Message}`)
    return true
  } catch (error) {
    if (isUnsupported(error)) return false
    throw error
  }
}

async function removeObject(bucket: Bucket, key: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await bucket.client.send(new DeleteObjectCommand(objectParams(bucket, key)), abortOptions(signal))
  } catch (error) {
    if (!isKeyMissing(error)) throw error
  }
}

/** The fields of a request by which the service checks a condition. */
export interface ConditionFields {
  readonly IfNoneMatch?: '*'
  readonly IfMatch?: string
}

export const toConditionFields = (condition: Precondition | undefined, form: EtagForm): ConditionFields => {
  if (!condition) return {}
  return condition === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: form(condition.version) }
}

/**
 * Checks a condition by a HEAD request before the write.
 * @throws {ConditionFailed}
 */
export async function assertObjectPrecondition(
  bucket: Bucket,
  key: string,
  condition: Precondition | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!condition) return
  const found = await headObject(bucket, key, signal)
  const isMet =
    condition === 'absent' ? !found : found !== undefined && versionOf(found) === condition.version
  if (!isMet) throw conditionFailed(key)
}

/** The response to a request, or undefined if the object does not exist. */
async function orUndefinedIfMissing<Response>(response: Promise<Response>): Promise<Response | undefined> {
  try {
    return await response
  } catch (error) {
    if (isKeyMissing(error)) return undefined
    throw error
  }
}

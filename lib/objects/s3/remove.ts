import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { inParallel } from '../parallel.ts'
import type { SpaceOptions } from '../space.ts'
import { at, type Bucket, until } from './bucket.ts'
import { isConflict, isMissing, isPreconditionFailed, isUnknownRequest } from './errors.ts'

/** Most objects of one request. */
const maxKeys = 1000
/** Requests at a time, where each removes one object. */
const inFlight = 8

export async function remove(
  bucket: Bucket,
  keys: readonly string[],
  { signal }: SpaceOptions = {},
): Promise<void> {
  for (let at = 0; at < keys.length; at += maxKeys) {
    const some = keys.slice(at, at + maxKeys)
    if (some.length === 1 || !(await removeTogether(bucket, some, signal))) {
      await inParallel(some, inFlight, signal, (key, stop) => removeOne(bucket, key, stop))
    }
  }
}

/**
 * Removes objects by one request.
 * @returns false if the service does not take it: not all have it, and some demand a Content-MD5, which the SDK no longer sends
 */
async function removeTogether(
  bucket: Bucket,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const objects = keys.map((key) => ({ Key: at(bucket, key).Key }))
  const command = new DeleteObjectsCommand({ Bucket: bucket.name, Delete: { Objects: objects, Quiet: true } })
  try {
    const { Errors = [] } = await bucket.client.send(command, until(signal))
    const error = Errors.find(({ Code }) => Code !== 'NoSuchKey')
    if (error) throw new Error(`${error.Code}: ${error.Key} was not removed: ${error.Message}`)
    return true
  } catch (error) {
    if (isUnknownRequest(error)) return false
    throw error
  }
}

async function removeOne(bucket: Bucket, key: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await bucket.client.send(new DeleteObjectCommand(at(bucket, key)), until(signal))
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

/** @param etag the version, as the service wants it; undefined if it is not to be asked */
export async function removeIf(
  bucket: Bucket,
  key: string,
  etag: string | undefined,
  { signal }: SpaceOptions = {},
): Promise<void> {
  if (etag === undefined) return removeOne(bucket, key, signal)
  try {
    await bucket.client.send(new DeleteObjectCommand({ ...at(bucket, key), IfMatch: etag }), until(signal))
  } catch (error) {
    if (isMissing(error) || isPreconditionFailed(error) || isConflict(error)) return
    if (!isUnknownRequest(error)) throw error
    await removeOne(bucket, key, signal)
  }
}

import { PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import type { PutOptions } from '../space.ts'
import { at, type Bucket, until } from './bucket.ts'
import { type ConditionFields, conditionFailed } from './conditions.ts'
import { isConflict, isMissing, isPreconditionFailed, wasRepeated } from './errors.ts'
import { versionOf } from './etag.ts'
import { describe, isMarked, newMark } from './metadata.ts'
import { look } from './read.ts'

/** How often a conditional write is sent that others came in between. */
const maxSends = 4

export async function put(
  bucket: Bucket,
  key: string,
  chunks: readonly Uint8Array[],
  { condition, description, signal }: PutOptions,
  fields: ConditionFields,
): Promise<string> {
  const mark = condition && newMark()
  const input: PutObjectCommandInput = {
    ...at(bucket, key),
    ...describe(description, mark),
    ...fields,
    Body: joined(chunks),
  }
  for (let sends = 1; ; sends += 1) {
    try {
      return versionOf(await bucket.client.send(new PutObjectCommand(input), until(signal)))
    } catch (error) {
      if (!mark) throw error
      // It was not decided. "On a 409 failure, retry the upload" (S3 API, PutObject).
      if (isConflict(error) && sends < maxSends) continue
      if (!isConflict(error) && !isPreconditionFailed(error) && !isMissing(error)) throw error
      const found = sends > 1 || wasRepeated(error) ? await look(bucket, key, signal) : undefined
      if (found && isMarked(found.Metadata, mark)) return versionOf(found)
      throw conditionFailed(key, error)
    }
  }
}

/**
 * One piece of memory, which the SDK can send again and sign with a checksum. A stream of the chunks would save the copy
 * (6 ms of the 66 that 8 MiB took to a gateway on the same machine), but the SDK does not repeat it, and signs it in
 * chunks with a trailer, which not every service takes.
 */
function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks
  return only && chunks.length === 1 ? only : Buffer.concat(chunks)
}

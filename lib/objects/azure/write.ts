import { randomUUID } from 'node:crypto'
import type { BlobHTTPHeaders, BlobRequestConditions, BlockBlobClient } from '@azure/storage-blob'
import { type Condition, ConditionFailed, type PutOptions } from '../space.ts'
import { isMissing, isUnmet, versionOf } from './answers.ts'
import { encodeMetadata } from './metadata.ts'

/** What Put Blob and Put Block List are told beside the bytes. */
export interface WriteOptions {
  readonly abortSignal?: AbortSignal
  readonly conditions: BlobRequestConditions
  readonly metadata: Record<string, string>
  readonly blobHTTPHeaders: BlobHTTPHeaders
}

/** Metadata that tells one conditional write from all others. */
const mark = 'bitswrite'

/**
 * Writes a blob on a condition. The SDK repeats a request whose answer was lost: a write that succeeded at first is then
 * refused because of itself. So each leaves a mark of its own, and when it is refused, what stands there is looked at.
 * @returns the blob's version
 */
export async function write(
  blob: BlockBlobClient,
  { condition, description, signal }: PutOptions,
  send: (options: WriteOptions) => Promise<{ readonly etag?: string }>,
): Promise<string> {
  const id = randomUUID()
  try {
    const written = await send({
      ...(signal && { abortSignal: signal }),
      conditions: condition ? conditionsOf(condition) : {},
      metadata: { ...encodeMetadata(description?.metadata ?? {}), ...(condition && { [mark]: id }) },
      blobHTTPHeaders: description ? { blobContentType: description.contentType } : {},
    })
    return versionOf(written)
  } catch (error) {
    if (!condition || !isUnmet(error)) throw error
    const found = await propertiesOf(blob, signal)
    if (found?.metadata?.[mark] === id) return versionOf(found)
    throw unmet(blob, error)
  }
}

/** Refuses in advance what would be refused at the end. */
export async function check(
  blob: BlockBlobClient,
  condition: Condition,
  signal: AbortSignal | undefined,
): Promise<void> {
  const version = (await propertiesOf(blob, signal))?.etag
  if (version !== (condition === 'absent' ? undefined : condition.version)) throw unmet(blob)
}

/** What is known of a blob; undefined if there is none. */
export async function propertiesOf(blob: BlockBlobClient, signal: AbortSignal | undefined) {
  try {
    return await blob.getProperties({ ...(signal && { abortSignal: signal }) })
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Metadata without what is ours. */
export function withoutMark({ [mark]: _, ...others }: Record<string, string>): Record<string, string> {
  return others
}

const conditionsOf = (condition: Condition): BlobRequestConditions =>
  condition === 'absent' ? { ifNoneMatch: '*' } : { ifMatch: condition.version }

const unmet = ({ name }: BlockBlobClient, cause?: unknown): ConditionFailed =>
  new ConditionFailed(`What stands at "${name}" is not what was expected`, { cause })

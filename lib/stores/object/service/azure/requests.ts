import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { BlobHTTPHeaders, BlobRequestConditions, BlockBlobClient } from '@azure/storage-blob'
import { decodeValue, encodeValue } from '../metadata.ts'
import { ConditionFailed, type Precondition, type PutOptions } from '../service.ts'

/** How often in a row a connection may break without having brought a byte. */
const MaxReconnects = 5

interface Download {
  readonly version: string
  readonly bytes: AsyncGenerator<Uint8Array>
}

/**
 * Asks for a blob's bytes, which go on where a connection broke as long as the blob is the same. The SDK has code for
 * that, which never comes to it: Node tells of a break by the event 'aborted' first, and that ends the SDK's stream.
 * @param count left out: all that follow
 */
export async function download(
  blob: BlockBlobClient,
  { first = 0, count, signal }: { first?: number; count?: number; signal?: AbortSignal | undefined } = {},
): Promise<Download> {
  const ask = (at: number, bytes?: number, version?: string) =>
    blob.download(at, bytes, {
      ...(signal && { abortSignal: signal }),
      ...(version && { conditions: { ifMatch: version } }),
      maxRetryRequests: 0,
    })

  const answer = await ask(first, count)
  const version = etagOf(answer)
  const size = answer.contentLength ?? 0
  const end = first + size

  async function* bytes(): AsyncGenerator<Uint8Array> {
    let body = answer.readableStreamBody ?? []
    let breaks = 0
    for (let at = first; ; ) {
      try {
        for await (const chunk of body as AsyncIterable<Buffer>) {
          at += chunk.length
          breaks = 0
          yield chunk
        }
        break
      } catch (error) {
        if (at === end) break
        breaks += 1
        if (signal?.aborted || breaks > MaxReconnects) throw error
      }
      body = (await ask(at, end - at, version)).readableStreamBody ?? []
    }
    // A request that sends them on would wait for the rest of what it announced.
    if (size < (count ?? 0)) throw new Error(`Of "${blob.name}" only ${size} of ${count} bytes are there`)
  }
  return { version, bytes: bytes() }
}

/** A stream that begins when it is read; to destroy it aborts what it waits for. */
export function lazyReadable(begin: (signal: AbortSignal) => AsyncGenerator<Uint8Array>): Readable {
  const controller = new AbortController()
  const bytes = begin(controller.signal)
  const iterator = {
    next: () => bytes.next(),
    // A generator returns only when what it waits for has come to its end.
    async return() {
      controller.abort()
      return bytes.return(undefined)
    },
  }
  return Readable.from({ [Symbol.asyncIterator]: () => iterator }, { objectMode: false })
}

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
export async function uploadBlob(
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
    return etagOf(written)
  } catch (error) {
    if (!condition || !isPreconditionFailed(error)) throw error
    const found = await propertiesOf(blob, signal)
    if (found?.metadata?.[mark] === id) return etagOf(found)
    throw unmet(blob, error)
  }
}

/** Refuses in advance what would be refused at the end. */
export async function assertWritten(
  blob: BlockBlobClient,
  condition: Precondition,
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
    if (isBlobMissing(error)) return undefined
    throw error
  }
}

/** Metadata without what is ours. */
export function withoutMark({ [mark]: _, ...others }: Record<string, string>): Record<string, string> {
  return others
}

const conditionsOf = (condition: Precondition): BlobRequestConditions =>
  condition === 'absent' ? { ifNoneMatch: '*' } : { ifMatch: condition.version }

const unmet = ({ name }: BlockBlobClient, cause?: unknown): ConditionFailed =>
  new ConditionFailed(`What stands at "${name}" is not what was expected`, { cause })

/** What the service's answers say, in our words. */

interface ServiceError {
  readonly statusCode?: number
  readonly code?: string
  readonly details?: { readonly errorCode?: string }
}

/** The service's own name for what went wrong. An answer to HEAD has no body, and so tells it by a header only. */
export function errorCodeOf(error: unknown): string | undefined {
  const { code, details } = error as ServiceError
  return code ?? details?.errorCode
}

export const errorStatusOf = (error: unknown): number | undefined => (error as ServiceError).statusCode

/** The container is there, the blob is not. */
export const isBlobMissing = (error: unknown): boolean =>
  errorStatusOf(error) === 404 && errorCodeOf(error) !== 'ContainerNotFound'

/** A write's condition was not met: by the page on Put Blob 409 for `absent`, and 412, or 404, for a version. */
export const isPreconditionFailed = (error: unknown): boolean =>
  errorCodeOf(error) === 'BlobAlreadyExists' ||
  errorCodeOf(error) === 'ConditionNotMet' ||
  isBlobMissing(error)

/** The ETag, quotes and all: it changes with every write. */
export function etagOf({ etag }: { readonly etag?: string }): string {
  if (!etag) throw new Error('The service told no ETag')
  return etag
}

/**
 * Metadata as the service takes them: all of them together at most 8 KB (the page on naming and referencing metadata). The
 * SDK does not give back a value that is empty.
 */
export const encodeMetadata = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  mapValues(metadata, encodeValue)

export const decodeMetadata = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  mapValues(metadata, decodeValue)

const mapValues = (record: Readonly<Record<string, string>>, map: (value: string) => string) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

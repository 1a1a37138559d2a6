/** What S3 requests have in common: parameters, metadata, versions and errors. */
import { randomBytes } from 'node:crypto'
import type { S3Client } from '@aws-sdk/client-s3'
import { decodeValue, encodeValue, type ObjectAttributes } from '../service.ts'

/** The place of a service's objects. */
export interface Bucket {
  readonly client: S3Client
  readonly name: string
  /** Prefix of all keys. */
  readonly prefix: string
}

/** The fields of a request that name its object. */
export const objectParams = ({ name, prefix }: Bucket, key: string) => ({
  Bucket: name,
  Key: `${prefix}${key}`,
})

/** The field of a copy request that names its source. */
export const copySourceParams = ({ name, prefix }: Bucket, key: string) => ({
  CopySource: `${name}/${prefix}${key}`.split('/').map(encodeURIComponent).join('/'),
})

/**
 * Largest size in bytes of an object's metadata, names and values (S3 user guide, "User-defined object
 * metadata").
 */
const MaxMetadataBytes = 2048

/** Metadata entry with the unique token of a write. */
const WriteTokenKey = 'bits-write'

/**
 * A unique token for a write. The SDK repeats a request whose response was lost; if the first one succeeded,
 * the repetition of a conditional write fails. By the token the writer recognizes its own object. The bytes
 * are not enough, because another writer may have written the same ones; nor is the ETag, which is not always
 * computed from the bytes.
 */
export const newWriteToken = (): string => randomBytes(12).toString('base64url')

/** Whether an object was written with this token. */
export const hasWriteToken = (metadata: Readonly<Record<string, string>> = {}, token: string): boolean =>
  metadata[WriteTokenKey] === token

/** The fields of a write request for attributes and token. */
export function attributeParams(attributes: ObjectAttributes | undefined, token: string | undefined) {
  const metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(attributes?.metadata ?? {})) metadata[name] = encodeValue(value)
  if (token) metadata[WriteTokenKey] = token
  const size = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (size > MaxMetadataBytes) {
    throw new RangeError(
      `S3 accepts at most ${MaxMetadataBytes} bytes of metadata; percent-encoded, these are ${size}`,
    )
  }
  return { Metadata: metadata, ...(attributes && { ContentType: attributes.contentType }) }
}

/** The decoded metadata of an object, without the token. */
export function metadataOf(encoded: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { [WriteTokenKey]: _, ...metadata } = encoded
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, decodeValue(value)]))
}

/** The version of an object: its ETag without the quotes, which some services send only in some responses. */
export const versionOf = ({ ETag = '' }: { readonly ETag?: string | undefined }): string =>
  ETag.replace(/^"(.*)"$/, '$1')

/** The form in which a service requires a version in a condition. */
export type EtagForm = (version: string) => string

/** As HTTP defines it (RFC 9110, 8.8.3). */
export const quotedEtag: EtagForm = (version) => `"${version}"`

/** As Ceph requires it, up to release 16 at least: it treats the quotes as part of the ETag. */
export const bareEtag: EtagForm = (version) => version

/**
 * The parts of an SDK error that are used here. There may be several copies of the SDK's error classes, so
 * errors are recognized by name and status.
 */
interface S3Error {
  /**
   * The error code of S3. A response to HEAD has no body with a code; the SDK derives the name from the
   * status.
   */
  readonly name?: string
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number }
}

const s3ErrorCode = (error: unknown): string | undefined => (error as S3Error).name
const s3ErrorStatus = (error: unknown): number | undefined => (error as S3Error).$metadata?.httpStatusCode

/**
 * S3 sends status 200 before it copies, and an error that occurs later in the body. The SDK finds that error
 * only if the body ends with it.
 * @param etag undefined if the response has no result; empty if the service (Ceph) does not know it yet
 */
export function assertResult(key: string, etag: string | undefined): void {
  if (etag === undefined) throw new Error(`S3 did not report whether it wrote ${key}`)
}

/** The multipart upload does not exist: it was aborted or completed. */
export const isUploadMissing = (error: unknown): boolean => s3ErrorCode(error) === 'NoSuchUpload'

/** A part of a multipart upload has another ETag than the completion names, or is missing. */
export const isPartChanged = (error: unknown): boolean =>
  ['InvalidPart', 'InvalidPartOrder'].includes(s3ErrorCode(error) ?? '')

/** The service failed. It may have carried out the request. */
export const isInternalError = (error: unknown): boolean => s3ErrorCode(error) === 'InternalError'

/** The object does not exist. */
export const isKeyMissing = (error: unknown): boolean =>
  s3ErrorCode(error) === 'NoSuchKey' ||
  (s3ErrorStatus(error) === 404 && s3ErrorCode(error) !== 'NoSuchBucket' && !isUploadMissing(error))

/**
 * The condition of a write was not met. The name is checked too: for a copy or a completion S3 may send the
 * error in the body of a 200, for which the SDK invents a status.
 */
export const isS3PreconditionFailed = (error: unknown): boolean =>
  s3ErrorCode(error) === 'PreconditionFailed' || s3ErrorStatus(error) === 412

/**
 * A concurrent request for the same object, such as a removal, conflicted: nothing was written or decided.
 */
export const isConflict = (error: unknown): boolean =>
  s3ErrorCode(error) === 'ConditionalRequestConflict' || s3ErrorStatus(error) === 409

/** The SDK may have sent the request before: it repeats requests that were not answered. */
export const wasRepeated = (error: unknown): boolean => (error as S3Error).$metadata?.attempts !== 1

/** The service does not implement the request, or not in the form in which the SDK sends it. */
export const isUnsupported = (error: unknown): boolean =>
  [400, 405, 411, 501].includes(s3ErrorStatus(error) ?? 0)

import type { S3Client } from '@aws-sdk/client-s3'

/** Where the objects of a space are. */
export interface Bucket {
  readonly client: S3Client
  readonly name: string
  /** What all keys begin with. */
  readonly prefix: string
}

/** An object, as requests name it. */
export const objectParams = ({ name, prefix }: Bucket, key: string) => ({
  Bucket: name,
  Key: `${prefix}${key}`,
})

/** An object, as copies name their source. */
export const copySourceParams = ({ name, prefix }: Bucket, key: string) => ({
  CopySource: `${name}/${prefix}${key}`.split('/').map(encodeURIComponent).join('/'),
})

/** How long a request is waited for. */
export const abortOptions = (signal: AbortSignal | undefined) => (signal ? { abortSignal: signal } : {})

/** The version of what was found: its ETag without the quotes that some services give it in some answers only. */
export const versionOf = ({ ETag = '' }: { readonly ETag?: string | undefined }): string =>
  ETag.replace(/^"(.*)"$/, '$1')

/** How a service wants a version written in a condition. */
export type EtagForm = (version: string) => string

/** As HTTP has it (RFC 9110, 8.8.3). */
export const quoted: EtagForm = (version) => `"${version}"`

/** As Ceph has it, up to release 16 at least: it takes the quotes for a part of the ETag. */
export const bare: EtagForm = (version) => version

/** What the SDK tells of a request that failed; of its classes there may be several copies, so they are not asked. */
interface S3Error {
  /** S3's code; that of a HEAD, which has no body to tell one, is made of the status. */
  readonly name?: string
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number }
}

const s3ErrorCode = (error: unknown): string | undefined => (error as S3Error).name
const s3ErrorStatus = (error: unknown): number | undefined => (error as S3Error).$metadata?.httpStatusCode

/** There is no such multipart upload: it was aborted, or completed. */
export const isUploadMissing = (error: unknown): boolean => s3ErrorCode(error) === 'NoSuchUpload'

/** There is no such object. */
export const isKeyMissing = (error: unknown): boolean =>
  s3ErrorCode(error) === 'NoSuchKey' ||
  (s3ErrorStatus(error) === 404 && s3ErrorCode(error) !== 'NoSuchBucket' && !isUploadMissing(error))

/**
 * A condition was not met. It is asked by its name too: of a copy or a completed upload S3 may tell the error in the body
 * of a 200, for which the SDK makes up a status.
 */
export const isPreconditionFailed = (error: unknown): boolean =>
  s3ErrorCode(error) === 'PreconditionFailed' || s3ErrorStatus(error) === 412

/** Another request for the same object came in between, a removal for example: nothing was written, or decided. */
export const isConflict = (error: unknown): boolean =>
  s3ErrorCode(error) === 'ConditionalRequestConflict' || s3ErrorStatus(error) === 409

/** The request may have been sent before the one that this answers: the SDK repeats what is not answered. */
export const wasRepeated = (error: unknown): boolean => (error as S3Error).$metadata?.attempts !== 1

/** The service has no such request, or wants it otherwise than the SDK makes it. */
export const isUnknownRequest = (error: unknown): boolean =>
  [400, 405, 411, 501].includes(s3ErrorStatus(error) ?? 0)

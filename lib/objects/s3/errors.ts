/** What the SDK tells of a request that failed; of its classes there may be several copies, so they are not asked. */
interface Failure {
  /** S3's code; that of a HEAD, which has no body to tell one, is made of the status. */
  readonly name?: string
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number }
}

const codeOf = (error: unknown): string | undefined => (error as Failure).name
const statusOf = (error: unknown): number | undefined => (error as Failure).$metadata?.httpStatusCode

/** There is no such multipart upload: it was aborted, or completed. */
export const isUploadMissing = (error: unknown): boolean => codeOf(error) === 'NoSuchUpload'

/** There is no such object. */
export const isMissing = (error: unknown): boolean =>
  codeOf(error) === 'NoSuchKey' ||
  (statusOf(error) === 404 && codeOf(error) !== 'NoSuchBucket' && !isUploadMissing(error))

/**
 * A condition was not met. It is asked by its name too: of a copy or a completed upload S3 may tell the error in the body
 * of a 200, for which the SDK makes up a status.
 */
export const isPreconditionFailed = (error: unknown): boolean =>
  codeOf(error) === 'PreconditionFailed' || statusOf(error) === 412

/** Another request for the same object came in between, a removal for example: nothing was written, or decided. */
export const isConflict = (error: unknown): boolean =>
  codeOf(error) === 'ConditionalRequestConflict' || statusOf(error) === 409

/** The request may have been sent before the one that this answers: the SDK repeats what is not answered. */
export const wasRepeated = (error: unknown): boolean => (error as Failure).$metadata?.attempts !== 1

/** The service has no such request, or wants it otherwise than the SDK makes it. */
export const isUnknownRequest = (error: unknown): boolean =>
  [400, 405, 411, 501].includes(statusOf(error) ?? 0)

/** What the service's answers say, in our words. */

interface Failure {
  readonly statusCode?: number
  readonly code?: string
  readonly details?: { readonly errorCode?: string }
}

/** The service's own name for what went wrong. An answer to HEAD has no body, and so tells it by a header only. */
export function codeOf(error: unknown): string | undefined {
  const { code, details } = error as Failure
  return code ?? details?.errorCode
}

export const statusOf = (error: unknown): number | undefined => (error as Failure).statusCode

/** The container is there, the blob is not. */
export const isMissing = (error: unknown): boolean =>
  statusOf(error) === 404 && codeOf(error) !== 'ContainerNotFound'

/** A write's condition was not met: by the page on Put Blob 409 for `absent`, and 412, or 404, for a version. */
export const isUnmet = (error: unknown): boolean =>
  codeOf(error) === 'BlobAlreadyExists' || codeOf(error) === 'ConditionNotMet' || isMissing(error)

/** The ETag, quotes and all: it changes with every write. */
export function versionOf({ etag }: { readonly etag?: string }): string {
  if (!etag) throw new Error('The service told no ETag')
  return etag
}

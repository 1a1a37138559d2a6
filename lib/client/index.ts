/**
 * A client of the BITS Upload Protocol, for any BITS server.
 *
 * @module express-bits-upload/client
 */

export type { Credentials } from './auth.ts'
export { cancelUpload } from './cancel.ts'
export type { TlsOptions } from './connections.ts'
export { UploadError, type UploadErrorCode, type UploadErrorDetails } from './errors.ts'
export { type JobSummary, readJob } from './job.ts'
export type { CancelOptions, ConnectionSettings, UploadOptions } from './options.ts'
export type { UploadProgress, UploadReply, UploadResult, UploadState } from './progress.ts'
export type { UploadSource } from './source.ts'
export { uploadFile } from './upload-file.ts'

/**
 * Why an upload ends in error, one a row: what happened, and what to do. Those that the server decides come from its
 * HTTP status, its HRESULT and its context; see `refusal` in verdict.ts.
 */
const uploadErrors = {
  'access-denied': 'The server refuses: no permission, or the file is there and may not be overwritten',
  'application-refused': 'The application behind the server refused the file',
  certificate:
    "The server's certificate is not trusted; check its name, or name its issuer with `tls: { ca }`",
  'empty-file': 'The server takes no empty files; BITS has no word for them',
  'file-changed': 'The file changed while it was sent; begin again when nobody writes to it',
  'fragment-too-large': 'The server, or a proxy, calls even the smallest fragment too large',
  'invalid-answer': 'The answers are not those of a BITS server; check the URL, and what stands in between',
  'invalid-request':
    'The server calls the request invalid; the URL may name a folder, or a name that it does not take',
  'job-failed': 'The job file could not be read or written',
  'job-in-use': 'Another upload is using the job file; wait for its end, or stop it',
  'job-invalid': 'The file that `job` names is not a job file; name another',
  'job-mismatch': 'The job file is that of another upload; name another, or end that one with cancelUpload()',
  'no-progress': 'There was no progress for `noProgressTimeout`; try again when the server can be reached',
  'not-found':
    'There is no such place on the server: check the URL, the folder, and that uploads are enabled there',
  'not-supported': 'The server takes no BITS uploads there; check the URL, and that uploads are enabled',
  'protocol-mismatch': 'The server speaks another version of the protocol',
  'proxy-unauthorized': 'A proxy wants credentials; this client has none for proxies',
  redirected: 'The server redirects, and uploads are never redirected; use the URL that it names',
  refused: 'The server refuses for good',
  'reply-changed': 'The reply changed while it was fetched',
  'reply-failed': 'The reply could not be written',
  'reply-invalid': 'The reply cannot be fetched as the server gives it',
  'reply-too-large': 'The reply is larger than `maxReplySize`; raise it, or name a file with `reply`',
  'session-lost': 'The server forgot the session again and again',
  'source-failed': 'The file could not be read',
  stuck: 'The server acknowledges, but the upload does not advance',
  'too-large': 'The file is larger than the server takes',
  unauthorized: 'The server wants credentials, or others; see `auth` and `headers`',
} as const

/** The name of a row of the client's error table. */
export type UploadErrorCode = keyof typeof uploadErrors

export interface UploadErrorDetails {
  /** HTTP status, if the server decided. */
  readonly status?: number | undefined
  /** HRESULT of `BITS-Error` or `BITS-Error-Code`, if there was one. */
  readonly hresult?: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the application behind the server. */
  readonly context?: number | undefined
  readonly cause?: unknown
}

/**
 * Why `uploadFile` or `cancelUpload` gave up. Its message says what to do. Where a job file was named it is kept: the
 * upload can be resumed, or ended with `cancelUpload`.
 */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  readonly code: UploadErrorCode
  readonly status: number | undefined
  readonly hresult: number | undefined
  readonly context: number | undefined

  /** @param fact what happened this time, behind the row's text */
  constructor(code: UploadErrorCode, fact?: string, details: UploadErrorDetails = {}) {
    const text = fact === undefined ? uploadErrors[code] : `${uploadErrors[code]}. ${fact}`
    super(text, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.status = details.status
    this.hresult = details.hresult
    this.context = details.context
  }
}

/** All codes, for the page that lists them. */
export const uploadErrorCodes = Object.keys(uploadErrors) as UploadErrorCode[]

/**
 * The error codes of the client, each with its cause and remedy. `responseError` in response-policy.ts
 * derives the code of an error response from its HTTP status, HRESULT and context.
 */
const uploadErrors = {
  'access-denied': 'The server refuses: no permission, or the file exists and may not be overwritten',
  'application-refused': 'The application behind the server refused the file',
  certificate:
    "The server's certificate is not trusted; check its name, or pass its issuer with `tls: { ca }`",
  'empty-file': 'The server accepts no empty files; BITS does not define how to send one',
  'file-changed': 'The file changed while it was sent; try again when no program writes to it',
  'fragment-too-large': 'The server, or a proxy, refuses even the smallest fragment as too large',
  'invalid-answer': 'The responses are not those of a BITS server; check the URL, and the proxies in between',
  'invalid-request':
    'The server calls the request invalid; the URL may name a folder, or a name that the server does not accept',
  'job-failed': 'The job file could not be read or written',
  'job-in-use': 'Another upload is using the job file; wait for its end, or stop it',
  'job-invalid': 'The file that `job` names is not a job file; name another',
  'job-mismatch': 'The job file belongs to another upload; name another, or end that one with cancelUpload()',
  'no-progress': 'There was no progress for `noProgressTimeout`; try again when the cause is removed',
  'not-found':
    'The server does not know the path: check the URL, the folder, and that uploads are enabled there',
  'not-supported':
    'The server accepts no BITS uploads at this URL; check the URL, and that uploads are enabled',
  'protocol-mismatch': 'The server uses another version of the protocol',
  'proxy-unauthorized': 'A proxy requires credentials; this client does not support credentials for proxies',
  redirected: 'The server redirects the upload, which BITS does not allow; use the URL that it names',
  refused: 'The server refuses permanently',
  'reply-changed': 'The reply changed while it was fetched',
  'reply-failed': 'The reply could not be written',
  'reply-invalid': 'The reply cannot be fetched in the form in which the server sends it',
  'reply-too-large': 'The reply is larger than `maxReplySize`; raise it, or name a file with `reply`',
  'session-lost': 'The server lost the session repeatedly',
  'source-failed': 'The file could not be read',
  stuck: 'The server sends Acks, but the upload does not advance',
  'tls-failed': 'The client and the server cannot agree on a TLS connection',
  'too-large': 'The file is larger than the server accepts',
  unauthorized: 'The server requires credentials, or other ones; see `auth` and `headers`',
} as const

/** A code of the client's error table. */
export type UploadErrorCode = keyof typeof uploadErrors

export interface UploadErrorDetails {
  /** HTTP status, if the error is a response of the server. */
  readonly status?: number | undefined
  /** HRESULT of `BITS-Error` or `BITS-Error-Code`, if the response has one. */
  readonly hresult?: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the application behind the server. */
  readonly context?: number | undefined
  readonly cause?: unknown
}

/**
 * The error of `uploadFile` and `cancelUpload`. Its message states cause and remedy. The job file, if there
 * is one, is kept: the upload can be resumed, or ended with `cancelUpload`.
 */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  readonly code: UploadErrorCode
  readonly status: number | undefined
  readonly hresult: number | undefined
  readonly context: number | undefined
  /** Particulars of this error, a part of the message. */
  readonly detail: string | undefined

  /** @param detail particulars of this error, one or more sentences */
  constructor(code: UploadErrorCode, detail?: string, details: UploadErrorDetails = {}) {
    const text = joinTexts(code, uploadErrors[code], detail)
    super(text, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.status = details.status
    this.hresult = details.hresult
    this.context = details.context
    this.detail = detail
  }
}

/** A message in which the cause comes first: for `no-progress` it is the detail, for other codes the text of the code. */
export function joinTexts(code: UploadErrorCode, text: string, detail: string | undefined): string {
  if (detail === undefined) return text
  return code === 'no-progress' ? `${detail} ${text}.` : `${text}. ${detail}`
}

/**
 * The message of a cause as a sentence. In a VM context (Jest) a system error is no `instanceof Error`.
 */
export function causeText(cause: unknown): string | undefined {
  const message = (cause as { readonly message?: unknown } | null | undefined)?.message
  return typeof message === 'string' ? `${message}.` : undefined
}

/** All codes; a test compares them with the table in this folder's README.md. */
export const uploadErrorCodes = Object.keys(uploadErrors) as UploadErrorCode[]

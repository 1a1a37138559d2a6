/** The code of an {@link UploadError}: what happened, with the status or HRESULT of the response if the server refused. */
export type UploadErrorCode =
  /** 403, 0x80070005: no permission, or the file exists. */
  | 'access-denied'
  /** The same from the application behind the server: context 7. */
  | 'application-refused'
  /** The certificate of the server is not trusted. */
  | 'certificate'
  /** The server accepts no empty files. */
  | 'empty-file'
  /** The file changed while it was sent. */
  | 'file-changed'
  /** 413 for the smallest fragment. */
  | 'fragment-too-large'
  /** Five responses in a row that are not those of a BITS server, or two 416 without an offset. */
  | 'invalid-answer'
  /** 400, 0x80070057: the URL names a folder, or a name that the server does not accept. */
  | 'invalid-request'
  /** The job file could not be read or written. */
  | 'job-failed'
  /** Another upload is using the job file. */
  | 'job-in-use'
  /** The file is not a job file; for `cancelUpload` also: it does not exist. */
  | 'job-invalid'
  /** The job file belongs to another source or URL. */
  | 'job-mismatch'
  /** There was no progress for `noProgressTimeout`; `cause` is the last failure. */
  | 'no-progress'
  /** 404; for a fragment only if the smallest size is answered so, too. */
  | 'not-found'
  /** 405, 501, 505: no uploads at this URL. */
  | 'not-supported'
  /** The server uses another version of the protocol. */
  | 'protocol-mismatch'
  /** 407: a proxy requires credentials. */
  | 'proxy-unauthorized'
  /** 3xx. */
  | 'redirected'
  /** Another permanent status: 4xx except 408, 409 and 429. */
  | 'refused'
  /** The length of the reply changed, or the reply changed repeatedly. */
  | 'reply-changed'
  /** The reply could not be written. */
  | 'reply-failed'
  /** The reply has no length or invalid ranges, or its URL is one that is not requested. */
  | 'reply-invalid'
  /** The reply is larger than `maxReplySize`. */
  | 'reply-too-large'
  /** The server lost the session six times without a new byte. */
  | 'session-lost'
  /** The file could not be read. */
  | 'source-failed'
  /** The server requests the same byte five times in a row, or goes back and forth. */
  | 'stuck'
  /** No TLS connection: a client certificate is required, no common version, or http where https is expected. */
  | 'tls-failed'
  /** 0x80200020: the file is larger than the server accepts. */
  | 'too-large'
  /** 401: no credentials, wrong ones, or a scheme other than Basic and Digest. */
  | 'unauthorized'

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
} as const satisfies Record<UploadErrorCode, string>

/** Details of an {@link UploadError}. */
export interface UploadErrorDetails {
  /** HTTP status, if the error is a response of the server. */
  readonly status?: number | undefined
  /** HRESULT of `BITS-Error` or `BITS-Error-Code`, if the response has one. */
  readonly hresult?: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the application behind the server. */
  readonly context?: number | undefined
  /** The underlying error. */
  readonly cause?: unknown
}

/**
 * The error of `uploadFile` and `cancelUpload`. Its message states cause and remedy. The job file, if there
 * is one, is kept: the upload can be resumed, or ended with `cancelUpload`.
 */
export class UploadError extends Error {
  /** Always `'UploadError'`. */
  override readonly name = 'UploadError'
  /** What happened. */
  readonly code: UploadErrorCode
  /** HTTP status of the response, if the server refused. */
  readonly status: number | undefined
  /** HRESULT of `BITS-Error` or `BITS-Error-Code`, if the response has one ([MC-BUP] 2.2.1.2). */
  readonly hresult: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the application behind the server. */
  readonly context: number | undefined
  /** Particulars of this error, a part of the message. */
  readonly detail: string | undefined

  /**
   * Creates an error whose message consists of the text of its code and `detail`.
   *
   * @param code what happened
   * @param detail particulars of this error, one or more sentences
   * @param details of the response, and the cause
   */
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

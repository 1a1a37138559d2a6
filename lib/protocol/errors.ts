/** `BITS-Error-Context`: which side failed ([MC-BUP] 2.2.1.2). */
export const RemoteFile = 0x5
const RemoteApplication = 0x7

/** HTTP status n as an HRESULT is this plus n (win32: BITS return values). */
export const HttpFacility = 0x80190000

/**
 * The code of an error that the server answers with: its condition, the HTTP status, the HRESULT that is sent with it, and what a
 * client of Windows does then ([MC-BUP] 2.2.1.2, win32: BITS return values). After a temporary error it retries, by default every
 * 10 minutes for 14 days; after a permanent one its job ends in error. Without an HRESULT only the status is sent.
 */
export type BitsErrorCode =
  /** The packet violates a rule of the protocol. 400, 0x80070057: ends the job. */
  | 'invalid-packet'
  /** The name is a folder, or not valid. 400, 0x80070057: ends the job. */
  | 'invalid-destination'
  /** Credentials are required. 401: the client sends them if the job has any, otherwise it ends the job. */
  | 'unauthorized'
  /** `authorize` or another hook refused. 403, 0x80070005: ends the job. */
  | 'access-denied'
  /** The file exists, and `overwrite` is off. 403, 0x80070005: ends the job. */
  | 'destination-exists'
  /** The folder of the file does not exist. 404: ends the job. */
  | 'destination-not-found'
  /** The received bytes disappeared before Close-Session. 404: the client does not close the session again. */
  | 'entity-gone'
  /** The connection ended within a fragment. 408, which the client never receives: it retries. */
  | 'disconnected'
  /** No byte of a fragment arrived for `idleTimeout`. 408: the client retries. */
  | 'timeout'
  /** The fragment is larger than `maxFragmentSize`. 413: the client sends smaller fragments, down to 5 KB. */
  | 'fragment-too-large'
  /** Bytes before the fragment are missing. 416: the client continues at `BITS-Received-Content-Range`. */
  | 'out-of-sync'
  /** The session does not exist, or belongs to another owner or path. 500, 0x8020001F: the client creates a new session. */
  | 'session-not-found'
  /** The file is larger than `maxSize`. 500, 0x80200020: ends the job. */
  | 'too-large'
  /** The store has no space left. 500, 0x80070070: the client retries. */
  | 'disk-full'
  /** The store failed. 500: the client retries. */
  | 'store-failed'
  /** `authorize`, `onCreate` or `enabled` failed. 500: the client retries. */
  | 'hook-failed'
  /** `onUpload` failed. 500, 0x801901F4, context 7: the client retries. */
  | 'application-failed'
  /** The server application did not answer in time. 408, 0x800705B4, context 7: the client retries. */
  | 'application-timeout'
  /** For `onUpload`: rejects the upload permanently. 403, 0x80070005, context 7: ends the job. */
  | 'application-refused'
  /** The URL of a reply is relative, or longer than 2,200 characters. 400, 0x80070057: ends the job. */
  | 'invalid-reply'
  /** The option `enabled` is false. 501, 0x80070005: ends the job. */
  | 'uploads-disabled'
  /** `maxSessions` or `maxSessionsPerOwner` is reached. 503: the client retries. */
  | 'too-many-sessions'
  /** The process that works on the session does not answer. 503: the client retries. */
  | 'session-busy'
  /** After `close()`. 503: the client retries. */
  | 'stopping'

interface Row {
  /** HTTP status: 4xx (except 408, 409) ends a client's job, 5xx (except 501, 505) is retried for 14 days. */
  readonly status: number
  /** HRESULT of the error headers; absent if the HTTP status alone is sent (product note 4). */
  readonly hresult?: number
  readonly context: number
  readonly text: string
}

const row = (status: number, hresult: number | undefined, context: number, text: string): Row =>
  hresult === undefined ? { status, context, text } : { status, hresult, context, text }

/**
 * Every error that the server can answer with, one per row: HTTP status, HRESULT, context, text.
 * Sources: [MC-BUP] 2.2.1.2, 3.2.5.2 and the win32 pages; where those differ, a comment gives the choice.
 */
const table = {
  'invalid-packet': row(400, 0x80070057, RemoteFile, 'The packet violates the BITS Upload Protocol'),
  'invalid-destination': row(
    400,
    0x80070057,
    RemoteFile,
    'The destination is not a valid name for an upload',
  ),
  unauthorized: row(401, undefined, RemoteFile, 'The destination requires credentials'),
  'access-denied': row(403, 0x80070005, RemoteFile, 'Access to the destination is denied'),
  // win32 also lists 409, but a client takes 409 for temporary and would retry in vain for 14 days.
  'destination-exists': row(
    403,
    0x80070005,
    RemoteFile,
    'The destination exists and must not be overwritten',
  ),
  'destination-not-found': row(404, undefined, RemoteFile, 'The folder of the destination does not exist'),
  'entity-gone': row(404, undefined, RemoteFile, 'The bytes received so far are missing on the server'),
  // Only for events and logs of the server: the connection is closed, so no Ack is sent.
  disconnected: row(408, undefined, RemoteFile, 'The connection ended before the last byte of the fragment'),
  timeout: row(408, undefined, RemoteFile, 'The bytes of the fragment did not arrive in time'),
  // No error headers: after a 413 without them, clients since BITS 2.5 send smaller fragments (product note
  // 16).
  'fragment-too-large': row(413, undefined, RemoteFile, 'The fragment is larger than this server accepts'),
  // No error headers either: BITS-Received-Content-Range contains the offset at which the client must
  // continue.
  'out-of-sync': row(416, undefined, RemoteFile, 'The fragment does not start at the next expected byte'),
  'session-not-found': row(500, 0x8020001f, RemoteFile, 'The session is unknown'),
  'too-large': row(500, 0x80200020, RemoteFile, 'The file is larger than this server accepts'),
  // The specification prints x80070112 by mistake: ERROR_DISK_FULL is decimal 112, 0x70.
  'disk-full': row(500, 0x80070070, RemoteFile, 'The server has no space left for the upload'),
  'store-failed': row(500, undefined, RemoteFile, 'The server could not store the upload'),
  'hook-failed': row(500, undefined, RemoteFile, 'A hook of the server failed'),
  'application-failed': row(
    500,
    0x801901f4,
    RemoteApplication,
    'The application failed to process the upload',
  ),
  // [MC-BUP] 3.3.6 prints x80070112 here too; this is HRESULT_FROM_WIN32(ERROR_TIMEOUT).
  'application-timeout': row(408, 0x800705b4, RemoteApplication, 'The application did not answer in time'),
  'application-refused': row(403, 0x80070005, RemoteApplication, 'The application refused the upload'),
  'invalid-reply': row(400, 0x80070057, RemoteFile, 'The URL of the reply is not valid'),
  'uploads-disabled': row(501, 0x80070005, RemoteFile, 'Uploads are disabled'),
  'too-many-sessions': row(503, undefined, RemoteFile, 'Too many uploads are open'),
  'session-busy': row(503, undefined, RemoteFile, 'The process that works on the session does not answer'),
  stopping: row(503, undefined, RemoteFile, 'The server is stopping'),
} as const satisfies Record<BitsErrorCode, Row>

/** Details of a {@link BitsError}. */
export interface BitsErrorDetails {
  /** The underlying error; only for the operator, never sent. */
  readonly cause?: unknown
  /** Bytes that the server holds from 0 without holes: sent as `BITS-Received-Content-Range`. */
  readonly received?: number | undefined
  /** With `unauthorized`: value of `WWW-Authenticate`, for example `Basic realm="uploads"`. */
  readonly challenge?: string | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the remote application. Default: that of the code. */
  readonly context?: number
  /** HTTP status that a server application answered, from 400 to 599. Default: that of the code. */
  readonly status?: number
  /** HRESULT. Default: with a `status` 0x80190000 + status, otherwise that of the code. */
  readonly hresult?: number | undefined
}

/**
 * An error that is sent to the client as the Ack of its code: an invalid packet, or a refusal. Hooks and
 * stores may throw it. Any other error that they throw is a fault of the server and becomes a 500. The message is for the
 * operator: only status, HRESULT and context are sent.
 *
 * @example throw new BitsError('access-denied', 'Only *.log files are accepted')
 * @throws {TypeError} for a code that is not in the table, or details that are not valid in an Ack
 */
export class BitsError extends Error {
  /** Always `'BitsError'`. */
  override readonly name = 'BitsError'
  /** The code, from which all defaults follow. */
  readonly code: BitsErrorCode
  /** HTTP status of the Ack. */
  readonly status: number
  /** HRESULT of `BITS-Error` and `BITS-Error-Code`; undefined if the HTTP status alone is sent. */
  readonly hresult: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the remote application. */
  readonly context: number
  /** Bytes held, from the details. */
  readonly received: number | undefined
  /** Value of `WWW-Authenticate`, from the details. */
  readonly challenge: string | undefined
  readonly #details: BitsErrorDetails

  /**
   * Creates an error with the status, HRESULT and context of its code.
   *
   * @param code one of the codes
   * @param message for the operator; default: the text of the code
   * @param details cause, and what replaces or completes the defaults of the code
   */
  constructor(code: BitsErrorCode, message?: string, details: BitsErrorDetails = {}) {
    if (!Object.hasOwn(table, code)) {
      throw new TypeError(`BitsError: no code '${code}'; the codes are ${Object.keys(table).join(', ')}`)
    }
    checkDetails(details)
    const { status, hresult, context, text }: Row = table[code]
    super(message ?? text, details.cause === undefined ? undefined : { cause: details.cause })
    this.#details = details
    this.code = code
    this.status = details.status ?? status
    this.hresult = details.hresult ?? (details.status === undefined ? hresult : HttpFacility + details.status)
    this.context = details.context ?? context
    this.received = details.received
    this.challenge = details.challenge
  }

  /** A copy of this error with additional or replaced details. */
  with(details: BitsErrorDetails): BitsError {
    return new BitsError(this.code, this.message, { ...this.#details, ...details })
  }
}

function checkDetails({ challenge, status, hresult }: BitsErrorDetails): void {
  if (challenge !== undefined && !/^[\t\x20-\x7e\x80-\xff]+$/.test(challenge)) {
    throw new TypeError('BitsError: challenge must be a header value: no line feeds, only Latin-1 characters')
  }
  if (status !== undefined && !(Number.isInteger(status) && status >= 400 && status <= 599)) {
    throw new TypeError('BitsError: status must be an HTTP status from 400 to 599')
  }
  if (
    hresult !== undefined &&
    !(Number.isInteger(hresult) && hresult >= 0x80000000 && hresult <= 0xffffffff)
  ) {
    throw new TypeError('BitsError: hresult must be an integer from 0x80000000 to 0xFFFFFFFF')
  }
}

/** Converts any thrown value to a `BitsError`: another error becomes the cause of a `fault`. */
export const asBitsError = (error: unknown, fault: BitsErrorCode = 'store-failed'): BitsError =>
  error instanceof BitsError ? error : new BitsError(fault, undefined, { cause: error })

/** Converts an error of the application, from its hook or the stream of its reply. */
export function asApplicationError(error: unknown): BitsError {
  // 0x7 shows the client's administrator that the application failed, not the file.
  const failure = asBitsError(error, 'application-failed').with({ context: RemoteApplication })
  if (failure.status !== 416) return failure
  // All bytes are held at this point, and clients then take a 416 for success.
  return new BitsError('application-failed', failure.message, { cause: failure })
}

const faults: readonly BitsErrorCode[] = [
  'disk-full',
  'entity-gone',
  'store-failed',
  'session-busy',
  'hook-failed',
  'application-failed',
  'application-timeout',
  'invalid-reply',
]

/** Whether the server itself failed, so that its operator should act. */
export const isFault = ({ code }: BitsError): boolean => faults.includes(code)

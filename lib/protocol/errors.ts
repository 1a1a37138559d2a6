/** `BITS-Error-Context`: who failed ([MC-BUP] 2.2.1.2). */
export const RemoteFile = 0x5
const RemoteApplication = 0x7

/** HTTP status n is, as an HRESULT, this and n (win32: BITS return values). */
export const HttpFacility = 0x80190000

interface Row {
  /** HTTP status: 4xx (but 408, 409) ends a client's job, 5xx (but 501, 505) is tried again for 14 days. */
  readonly status: number
  /** HRESULT of the error headers; absent where the HTTP status alone says it (product note 4). */
  readonly hresult?: number
  readonly context: number
  readonly text: string
}

const row = (status: number, hresult: number | undefined, context: number, text: string): Row =>
  hresult === undefined ? { status, context, text } : { status, hresult, context, text }

/**
 * Every error that the server can answer, one a row: HTTP status, HRESULT, context, text.
 * Sources: [MC-BUP] 2.2.1.2, 3.2.5.2 and the win32 pages; where those differ the choice stands in the comment.
 */
const table = {
  'invalid-packet': row(400, 0x80070057, RemoteFile, 'The packet breaks a rule of the BITS Upload Protocol'),
  'invalid-destination': row(400, 0x80070057, RemoteFile, 'The destination cannot be the name of an upload'),
  unauthorized: row(401, undefined, RemoteFile, 'The destination asks for credentials'),
  'access-denied': row(403, 0x80070005, RemoteFile, 'Access to the destination is denied'),
  // win32 also lists 409; but 409 is transient to the client, which would then retry for 14 days in vain.
  'destination-exists': row(403, 0x80070005, RemoteFile, 'The destination exists and may not be overwritten'),
  'destination-not-found': row(404, undefined, RemoteFile, 'The folder of the destination does not exist'),
  'entity-gone': row(404, undefined, RemoteFile, 'The bytes received so far have vanished from the server'),
  // For the server's own eyes: nobody is there to read it.
  disconnected: row(408, undefined, RemoteFile, 'The connection ended before the last byte of the fragment'),
  timeout: row(408, undefined, RemoteFile, 'The bytes of the fragment did not arrive in time'),
  // No error headers: clients since BITS 2.5 answer a bare 413 with smaller fragments (product note 16).
  'fragment-too-large': row(413, undefined, RemoteFile, 'The fragment is larger than this server takes'),
  // No error headers either: BITS-Received-Content-Range tells the client where to go on.
  'out-of-sync': row(
    416,
    undefined,
    RemoteFile,
    'The fragment does not start at the next byte that is wanted',
  ),
  'session-not-found': row(500, 0x8020001f, RemoteFile, 'The session is not known'),
  'too-large': row(500, 0x80200020, RemoteFile, 'The file is larger than this server takes'),
  // The specification prints x80070112, a slip: ERROR_DISK_FULL is 112 in decimal, 0x70.
  'disk-full': row(500, 0x80070070, RemoteFile, 'The server has no space left for the upload'),
  'store-failed': row(500, undefined, RemoteFile, 'The server could not store the upload'),
  'hook-failed': row(500, undefined, RemoteFile, 'The server could not decide on the packet'),
  'application-failed': row(
    500,
    0x801901f4,
    RemoteApplication,
    'The application failed to process the upload',
  ),
  // [MC-BUP] 3.3.6 prints x80070112 here too; this is HRESULT_FROM_WIN32(ERROR_TIMEOUT).
  'application-timeout': row(408, 0x800705b4, RemoteApplication, 'The application did not answer in time'),
  'application-refused': row(403, 0x80070005, RemoteApplication, 'The application refused the upload'),
  'invalid-reply': row(400, 0x80070057, RemoteFile, 'The reply cannot stand at this URL'),
  'uploads-disabled': row(501, 0x80070005, RemoteFile, 'Uploads are disabled here'),
  'too-many-sessions': row(503, undefined, RemoteFile, 'Too many uploads are open'),
  stopping: row(503, undefined, RemoteFile, 'The server is stopping'),
} as const satisfies Record<string, Row>

/** The name of a row of the error table. */
export type BitsErrorCode = keyof typeof table

export interface BitsErrorDetails {
  /** What went wrong underneath; kept for the operator, never sent. */
  readonly cause?: unknown
  /** Bytes the server holds, from 0 without holes: becomes `BITS-Received-Content-Range`. */
  readonly received?: number | undefined
  /** With `unauthorized`: the value of `WWW-Authenticate`, for example `Basic realm="uploads"`. */
  readonly challenge?: string | undefined
  /** `BITS-Error-Context`, where it is not the row's: 5, the remote file, or 7, the remote application. */
  readonly context?: number
  /** HTTP status, where it is not the row's: of an application that said one, from 400 to 599. */
  readonly status?: number
  /** HRESULT, where it is not the row's. Default: with a `status`, that of the status, 0x80190000 + status. */
  readonly hresult?: number | undefined
}

/**
 * The peer's mistake, or a refusal: it becomes the Ack that its row describes. Hooks and stores may throw it;
 * anything else that they throw is a fault of the server's own and becomes a 500.
 *
 * @example throw new BitsError('access-denied', 'Only *.log files are taken here')
 * @throws {TypeError} for a code that is not in the table, or details that no Ack can carry
 */
export class BitsError extends Error {
  override readonly name = 'BitsError'
  readonly code: BitsErrorCode
  /** HTTP status of the Ack. */
  readonly status: number
  /** HRESULT of `BITS-Error` and `BITS-Error-Code`; undefined where the HTTP status alone says it. */
  readonly hresult: number | undefined
  /** `BITS-Error-Context`: 5, the remote file, or 7, the remote application. */
  readonly context: number
  readonly received: number | undefined
  readonly challenge: string | undefined
  readonly #details: BitsErrorDetails

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

  /** The same error with more, or other, details. */
  with(details: BitsErrorDetails): BitsError {
    return new BitsError(this.code, this.message, { ...this.#details, ...details })
  }
}

function checkDetails({ challenge, status, hresult }: BitsErrorDetails): void {
  if (challenge !== undefined && !/^[\t\x20-\x7e\x80-\xff]+$/.test(challenge)) {
    throw new TypeError(
      'BitsError: challenge is the value of a header: no line feeds, nothing beyond Latin-1',
    )
  }
  if (status !== undefined && !(Number.isInteger(status) && status >= 400 && status <= 599)) {
    throw new TypeError('BitsError: status is an HTTP status from 400 to 599')
  }
  if (
    hresult !== undefined &&
    !(Number.isInteger(hresult) && hresult >= 0x80000000 && hresult <= 0xffffffff)
  ) {
    throw new TypeError('BitsError: hresult is a number from 0x80000000 to 0xFFFFFFFF')
  }
}

/** An error as the client is to see it: what is none of the table's is a fault of the given kind. */
export const asBitsError = (error: unknown, fault: BitsErrorCode = 'store-failed'): BitsError =>
  error instanceof BitsError ? error : new BitsError(fault, undefined, { cause: error })

/** What the application failed with, in its hook or in the stream of its reply. */
export function asApplicationError(error: unknown): BitsError {
  // 0x7: the client's administrator is to look at the application, not at the file.
  const failure = asBitsError(error, 'application-failed').with({ context: RemoteApplication })
  if (failure.status !== 416) return failure
  // All bytes are held by now, and then clients take it for success.
  return new BitsError('application-failed', failure.message, { cause: failure })
}

const faults: readonly BitsErrorCode[] = [
  'disk-full',
  'entity-gone',
  'store-failed',
  'hook-failed',
  'application-failed',
  'application-timeout',
  'invalid-reply',
]

/** Whether it is something of the server's own that failed, and somebody should look. */
export const isFault = ({ code }: BitsError): boolean => faults.includes(code)

import type { PacketType } from '../protocol/packet.ts'
import type { ErrorFields } from './ack.ts'
import { UploadError, type UploadErrorCode, type UploadErrorDetails } from './errors.ts'

/** The request of a response: a packet, or the GET for a reply. */
export type RequestKind = PacketType | 'Reply'

/**
 * What the client does after a response.
 * - `accept`: continue
 * - `authenticate`: send the packet again with credentials
 * - `fragment-too-large`: send the bytes again in smaller fragments
 * - `session-lost`: the server does not know the session: start a new one at byte 0. For Cancel-Session this
 *   is a success.
 * - `retry`: send the packet again later
 * - `fatal`: end with an error
 */
export type ResponseAction =
  | 'accept'
  | 'authenticate'
  | 'fragment-too-large'
  | 'session-lost'
  | 'retry'
  | 'fatal'

export interface ResponseSummary extends ErrorFields {
  readonly requestKind: RequestKind
  readonly status: number
  /** Whether a BITS server answered; `false`: a proxy, or another part of the web server. */
  readonly isAck?: boolean
}

/** HRESULTs that the client acts on ([MC-BUP] 3.1.5.2.1). */
export const Hresult = {
  /** BG_E_SESSION_NOT_FOUND */
  SessionNotFound: 0x8020001f,
  /** BG_E_TOO_LARGE */
  TooLarge: 0x80200020,
  /** E_INVALIDARG */
  InvalidArgument: 0x80070057,
  /** E_ACCESSDENIED */
  AccessDenied: 0x80070005,
} as const
/** `BITS-Error-Context` of errors of the server application: BG_ERROR_CONTEXT_REMOTE_APPLICATION. */
const ContextRemoteApplication = 0x7

interface ActionRule {
  readonly when: (response: ResponseSummary) => boolean
  readonly action: ResponseAction
}

const hasStatusBetween = (low: number, high: number) => (response: ResponseSummary) =>
  response.status >= low && response.status <= high
const hasStatus =
  (...values: number[]) =>
  (response: ResponseSummary) =>
    values.includes(response.status)
const hasHresult =
  (...values: number[]) =>
  (response: ResponseSummary) =>
    values.includes(response.hresult ?? 0)
const requestKind =
  (...values: RequestKind[]) =>
  (response: ResponseSummary) =>
    values.includes(response.requestKind)
const both = (a: ActionRule['when'], b: ActionRule['when']) => (response: ResponseSummary) =>
  a(response) && b(response)

/** The first matching rule applies. */
const actionRules: readonly ActionRule[] = [
  // [MC-BUP] 3.1.5.2.1: with any status.
  { when: hasHresult(Hresult.SessionNotFound), action: 'session-lost' },
  // [MC-BUP] 3.1.5.1.7
  { when: hasStatus(401), action: 'authenticate' },
  { when: hasStatus(407), action: 'fatal' },
  // [MC-BUP] 3.1.5.1.4 and product note 16
  { when: both(requestKind('Fragment'), hasStatus(413)), action: 'fragment-too-large' },
  // 404.13: the request filter of IIS answers so for a body above maxAllowedContentLength. The path exists,
  // because Create-Session succeeded there.
  {
    when: both(requestKind('Fragment'), ({ status, isAck }) => status === 404 && isAck === false),
    action: 'fragment-too-large',
  },
  { when: both(requestKind('Fragment'), hasStatus(416)), action: 'accept' },
  { when: both(requestKind('Reply'), hasStatus(200, 206, 416)), action: 'accept' },
  // Error headers of a success are ignored, because some servers send `BITS-Error-Code: 1` with the Ack for
  // Ping.
  { when: hasStatus(200, 201), action: 'accept' },
  // A rate limiter in front answers 429. The file is complete, so the packet is worth a further attempt.
  {
    when: both(requestKind('Close-Session', 'Cancel-Session'), hasStatus(408, 409, 429)),
    action: 'retry',
  },
  // win32: Ack for Close-Session, Ack for Cancel-Session
  { when: both(requestKind('Close-Session', 'Cancel-Session'), hasStatusBetween(500, 599)), action: 'retry' },
  { when: both(requestKind('Close-Session', 'Cancel-Session'), hasStatusBetween(100, 499)), action: 'fatal' },
  // [MC-BUP] 3.1.5.2.1: reported to the upper layer. Other HRESULTs are classified by status: a full disk may
  // be emptied.
  { when: hasHresult(Hresult.TooLarge, Hresult.InvalidArgument, Hresult.AccessDenied), action: 'fatal' },
  // win32: Handling server application errors. 308 is newer than that text, and means the same as 307,
  // permanently.
  { when: hasStatusBetween(300, 305), action: 'fatal' },
  { when: hasStatus(307, 308), action: 'fatal' },
  // 429 is newer, too, and temporary by definition.
  { when: hasStatus(408, 409, 429), action: 'retry' },
  { when: hasStatusBetween(400, 499), action: 'fatal' },
  { when: hasStatus(501, 505), action: 'fatal' },
]

/** The action for a response. "Everything else is transient." */
export const classifyResponse = (response: ResponseSummary): ResponseAction =>
  actionRules.find(({ when }) => when(response))?.action ?? 'retry'

const errorCodeRules: readonly { readonly when: ActionRule['when']; readonly code: UploadErrorCode }[] = [
  { when: hasStatus(401), code: 'unauthorized' },
  { when: hasStatus(407), code: 'proxy-unauthorized' },
  { when: hasStatusBetween(300, 399), code: 'redirected' },
  { when: (response) => response.context === ContextRemoteApplication, code: 'application-refused' },
  { when: hasHresult(Hresult.TooLarge), code: 'too-large' },
  { when: hasStatus(405, 501, 505), code: 'not-supported' },
  { when: hasHresult(Hresult.AccessDenied), code: 'access-denied' },
  { when: hasStatus(403), code: 'access-denied' },
  { when: hasHresult(Hresult.InvalidArgument), code: 'invalid-request' },
  { when: hasStatus(400), code: 'invalid-request' },
  { when: hasStatus(404), code: 'not-found' },
  { when: hasStatus(413), code: 'fragment-too-large' },
]

/** The error of the caller for a response whose action is `fatal`. */
export function responseError(response: ResponseSummary): UploadError {
  const code = errorCodeRules.find(({ when }) => when(response))?.code ?? 'refused'
  const hint = mayLackContentLength(response) ? ` ${removedContentLength}` : ''
  return new UploadError(code, `${describeResponse(response)}.${hint}`, response)
}

/** A frequent cause of a refusal of the first packet, which the server alone sees. */
export const removedContentLength =
  'Proxies written in Go (Caddy, Traefik, cloudflared) remove Content-Length: 0, which some servers require, such as IIS: ' +
  'use another proxy, or a server that accepts packets without the field, as express-bits-upload does.'

/** Whether the cause may be a control packet whose Content-Length a proxy removed: [MC-BUP] 3.2.5.2.3 answers 411, Windows 400. */
const mayLackContentLength = ({ requestKind, status }: ResponseSummary): boolean =>
  status === 411 || (status === 400 && requestKind !== 'Fragment' && requestKind !== 'Reply')

/** Describes a response in a few words: `Fragment was answered 500, 0x80200020`. */
export function describeResponse({ requestKind, status, hresult }: ResponseSummary): string {
  const code = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
  return `${requestKind === 'Reply' ? 'The GET for the reply' : requestKind} was answered ${status}${code}`
}

/** Likely causes of statuses that pass. */
const temporaryCauses: Readonly<Record<number, string>> = {
  408: 'the request took too long',
  429: 'the server or a proxy limits the number of requests',
  502: 'a proxy cannot reach the server',
  503: 'the server or a proxy is overloaded or stopping',
  504: 'a proxy gets no answer from the server',
}

/** Describes a response after which the packet is sent again, with its likely cause. */
export function describeTemporaryResponse(response: ResponseSummary): string {
  const { status, requestKind: kind } = response
  const conflict = kind === 'Create-Session' ? 'the file exists, or another upload of it is open' : undefined
  const cause = status === 409 ? conflict : temporaryCauses[status]
  return cause === undefined ? describeResponse(response) : `${describeResponse(response)}: ${cause}`
}

/**
 * Why a request failed, as in {@link ResponseAction}.
 * - `retry`: also if the connection failed
 * - `offset-unknown`: a 416 does not contain the offset that the server expects
 */
export type RetryReason =
  | Extract<ResponseAction, 'retry' | 'session-lost' | 'fragment-too-large'>
  | 'offset-unknown'

export interface RetryableErrorDetails extends UploadErrorDetails {
  /** Most likely the server had closed a kept connection: a new connection will succeed. */
  readonly stale?: boolean
  /** The connection took nothing of the request for `sendTimeout`. */
  readonly isSlow?: boolean
  /** The packet certainly did not reach the server. */
  readonly unsent?: boolean
  /** An Ack of the server says that the packet was not carried out; an error of a proxy leaves that open. */
  readonly refused?: boolean
  /** The response violates the protocol, which a later attempt is unlikely to change. */
  readonly malformed?: boolean
  /** Milliseconds without progress before the failure, if it is a timeout. */
  readonly waited?: number
}

/** A failure after which the packet, or another one in its place, can be sent. The sender decides which. */
export class RetryableError extends Error {
  override readonly name = 'RetryableError'
  readonly reason: RetryReason
  readonly details: RetryableErrorDetails

  constructor(reason: RetryReason, message: string, details: RetryableErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.reason = reason
    this.details = details
  }

  /** The error of the caller, when there is no further attempt. */
  toUploadError(code: UploadErrorCode): UploadError {
    return new UploadError(code, `${this.message}.`, { ...this.details, cause: this })
  }
}

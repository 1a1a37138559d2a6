import type { PacketType } from '../protocol/packet.ts'
import type { ErrorFields } from './ack.ts'
import { UploadError, type UploadErrorCode, type UploadErrorDetails } from './errors.ts'

/** What may be answered: a packet, or the GET for a reply. */
export type RequestKind = PacketType | 'Reply'

/**
 * - `accept`: go on
 * - `authenticate`: the same packet once more, with credentials
 * - `fragment-too-large`: the same bytes in smaller fragments
 * - `session-lost`: the server does not know the session: a new one, from the first byte; what a Cancel wanted
 * - `retry`: the same again, later
 * - `fatal`: report it
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
  readonly when: (answer: ResponseSummary) => boolean
  readonly action: ResponseAction
}

const hasStatusBetween = (low: number, high: number) => (answer: ResponseSummary) =>
  answer.status >= low && answer.status <= high
const hasStatus =
  (...values: number[]) =>
  (answer: ResponseSummary) =>
    values.includes(answer.status)
const hasHresult =
  (...values: number[]) =>
  (answer: ResponseSummary) =>
    values.includes(answer.hresult ?? 0)
const requestKind =
  (...values: RequestKind[]) =>
  (answer: ResponseSummary) =>
    values.includes(answer.requestKind)
const both = (a: ActionRule['when'], b: ActionRule['when']) => (answer: ResponseSummary) =>
  a(answer) && b(answer)

/** The first row that fits decides. */
const actionRules: readonly ActionRule[] = [
  // [MC-BUP] 3.1.5.2.1: whatever the status.
  { when: hasHresult(Hresult.SessionNotFound), action: 'session-lost' },
  // [MC-BUP] 3.1.5.1.7
  { when: hasStatus(401), action: 'authenticate' },
  { when: hasStatus(407), action: 'fatal' },
  // [MC-BUP] 3.1.5.1.4 and product note 16
  { when: both(requestKind('Fragment'), hasStatus(413)), action: 'fragment-too-large' },
  { when: both(requestKind('Fragment'), hasStatus(416)), action: 'accept' },
  { when: both(requestKind('Reply'), hasStatus(200, 206, 416)), action: 'accept' },
  // Error headers of a success are not looked at: servers are known that send `BITS-Error-Code: 1` with each Ping's.
  { when: hasStatus(200, 201), action: 'accept' },
  // win32: Ack for Close-Session, Ack for Cancel-Session
  { when: both(requestKind('Close-Session', 'Cancel-Session'), hasStatusBetween(500, 599)), action: 'retry' },
  { when: both(requestKind('Close-Session', 'Cancel-Session'), hasStatusBetween(100, 499)), action: 'fatal' },
  // [MC-BUP] 3.1.5.2.1: reported to the upper layer. Other codes go by their status: a full disk may be emptied.
  { when: hasHresult(Hresult.TooLarge, Hresult.InvalidArgument, Hresult.AccessDenied), action: 'fatal' },
  // win32: Handling server application errors. 308 came later; it is to 307 what 301 is to 302.
  { when: hasStatusBetween(300, 305), action: 'fatal' },
  { when: hasStatus(307, 308), action: 'fatal' },
  // 429 came later, too, and says by itself that it will pass.
  { when: hasStatus(408, 409, 429), action: 'retry' },
  { when: hasStatusBetween(400, 499), action: 'fatal' },
  { when: hasStatus(501, 505), action: 'fatal' },
]

/** What to do about an answer. "Everything else is transient." */
export const classifyResponse = (answer: ResponseSummary): ResponseAction =>
  actionRules.find(({ when }) => when(answer))?.action ?? 'retry'

const errorCodeRules: readonly { readonly when: ActionRule['when']; readonly code: UploadErrorCode }[] = [
  { when: hasStatus(401), code: 'unauthorized' },
  { when: hasStatus(407), code: 'proxy-unauthorized' },
  { when: hasStatusBetween(300, 399), code: 'redirected' },
  { when: (answer) => answer.context === ContextRemoteApplication, code: 'application-refused' },
  { when: hasHresult(Hresult.TooLarge), code: 'too-large' },
  { when: hasStatus(405, 501, 505), code: 'not-supported' },
  { when: hasHresult(Hresult.AccessDenied), code: 'access-denied' },
  { when: hasStatus(403), code: 'access-denied' },
  { when: hasHresult(Hresult.InvalidArgument), code: 'invalid-request' },
  { when: hasStatus(400), code: 'invalid-request' },
  { when: hasStatus(404), code: 'not-found' },
  { when: hasStatus(413), code: 'fragment-too-large' },
]

/** A refusal for good, as the caller is to see it. */
export function responseError(answer: ResponseSummary, code?: UploadErrorCode): UploadError {
  const word = code ?? errorCodeRules.find(({ when }) => when(answer))?.code ?? 'refused'
  return new UploadError(word, `${describeResponse(answer)}.`, answer)
}

/** An answer in a few words: `Fragment was answered 500, 0x80200020`. */
export function describeResponse({ requestKind, status, hresult }: ResponseSummary): string {
  const code = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
  return `${requestKind === 'Reply' ? 'The GET for the reply' : requestKind} was answered ${status}${code}`
}

/**
 * - `retry`: a break, or an answer that will not last; again later
 * - `session-lost`: the server does not know the session
 * - `fragment-too-large`: the fragment was too large
 */
export type RetryReason = 'retry' | 'session-lost' | 'fragment-too-large'

export interface RetryableErrorDetails extends UploadErrorDetails {
  /** A kept connection turned out to be closed, most likely: a fresh one will do. */
  readonly stale?: boolean
  /** The packet surely never left. */
  readonly unsent?: boolean
  /** The server itself says that the packet was not carried out; a gateway's error leaves that open. */
  readonly refused?: boolean
  /** The answer was wrong in a way that time does not mend. */
  readonly malformed?: boolean
}

/** Why a packet has to be sent again, or another one in its place; what to do about it is up to who sent it. */
export class RetryableError extends Error {
  override readonly name = 'Setback'
  readonly reason: RetryReason
  readonly details: RetryableErrorDetails

  constructor(reason: RetryReason, message: string, details: RetryableErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.reason = reason
    this.details = details
  }

  /** What the caller is told when it was the last one. */
  toUploadError(code: UploadErrorCode): UploadError {
    return new UploadError(code, `${this.message}.`, { ...this.details, cause: this })
  }
}

import type { PacketType } from '../protocol/packet.ts'
import type { AnsweredError } from './ack.ts'
import { UploadError, type UploadErrorCode } from './errors.ts'

/** What may be answered: a packet, or the GET for a reply. */
export type Asked = PacketType | 'Reply'

/**
 * - `accept`: go on
 * - `authenticate`: the same packet once more, with credentials
 * - `shrink`: the same bytes in smaller fragments
 * - `forgotten`: the server does not know the session: a new one, from the first byte; what a Cancel wanted
 * - `retry`: the same again, later
 * - `fatal`: report it
 */
export type Verdict = 'accept' | 'authenticate' | 'shrink' | 'forgotten' | 'retry' | 'fatal'

export interface Judged extends AnsweredError {
  readonly asked: Asked
  readonly status: number
}

const SessionNotFound = 0x8020001f
const TooLarge = 0x80200020
const InvalidArgument = 0x80070057
const AccessDenied = 0x80070005
const RemoteApplication = 0x7

interface Row {
  readonly when: (answer: Judged) => boolean
  readonly verdict: Verdict
}

const between = (low: number, high: number) => (answer: Judged) =>
  answer.status >= low && answer.status <= high
const status =
  (...values: number[]) =>
  (answer: Judged) =>
    values.includes(answer.status)
const hresult =
  (...values: number[]) =>
  (answer: Judged) =>
    values.includes(answer.hresult ?? 0)
const asked =
  (...values: Asked[]) =>
  (answer: Judged) =>
    values.includes(answer.asked)
const both = (a: Row['when'], b: Row['when']) => (answer: Judged) => a(answer) && b(answer)

/** The first row that fits decides. */
const rows: readonly Row[] = [
  // [MC-BUP] 3.1.5.2.1: whatever the status.
  { when: hresult(SessionNotFound), verdict: 'forgotten' },
  // [MC-BUP] 3.1.5.1.7
  { when: status(401), verdict: 'authenticate' },
  { when: status(407), verdict: 'fatal' },
  // [MC-BUP] 3.1.5.1.4 and product note 16
  { when: both(asked('Fragment'), status(413)), verdict: 'shrink' },
  { when: both(asked('Fragment'), status(416)), verdict: 'accept' },
  { when: both(asked('Reply'), status(200, 206, 416)), verdict: 'accept' },
  // Error headers of a success are not looked at: servers are known that send `BITS-Error-Code: 1` with each Ping's.
  { when: status(200, 201), verdict: 'accept' },
  // win32: Ack for Close-Session, Ack for Cancel-Session
  { when: both(asked('Close-Session', 'Cancel-Session'), between(500, 599)), verdict: 'retry' },
  { when: both(asked('Close-Session', 'Cancel-Session'), between(100, 499)), verdict: 'fatal' },
  // [MC-BUP] 3.1.5.2.1: reported to the upper layer. Other codes go by their status: a full disk may be emptied.
  { when: hresult(TooLarge, InvalidArgument, AccessDenied), verdict: 'fatal' },
  // win32: Handling server application errors. 308 came later; it is to 307 what 301 is to 302.
  { when: between(300, 305), verdict: 'fatal' },
  { when: status(307, 308), verdict: 'fatal' },
  // 429 came later, too, and says by itself that it will pass.
  { when: status(408, 409, 429), verdict: 'retry' },
  { when: between(400, 499), verdict: 'fatal' },
  { when: status(501, 505), verdict: 'fatal' },
]

/** What to do about an answer. "Everything else is transient." */
export const judge = (answer: Judged): Verdict => rows.find(({ when }) => when(answer))?.verdict ?? 'retry'

const words: readonly { readonly when: Row['when']; readonly code: UploadErrorCode }[] = [
  { when: status(401), code: 'unauthorized' },
  { when: status(407), code: 'proxy-unauthorized' },
  { when: between(300, 399), code: 'redirected' },
  { when: (answer) => answer.context === RemoteApplication, code: 'application-refused' },
  { when: hresult(TooLarge), code: 'too-large' },
  { when: status(405, 501, 505), code: 'not-supported' },
  { when: hresult(AccessDenied), code: 'access-denied' },
  { when: status(403), code: 'access-denied' },
  { when: hresult(InvalidArgument), code: 'invalid-request' },
  { when: status(400), code: 'invalid-request' },
  { when: status(404), code: 'not-found' },
  { when: status(413), code: 'fragment-too-large' },
]

/** A refusal for good, as the caller is to see it. */
export function refusal(answer: Judged, code?: UploadErrorCode): UploadError {
  const word = code ?? words.find(({ when }) => when(answer))?.code ?? 'refused'
  return new UploadError(word, `${describe(answer)}.`, answer)
}

/** An answer in a few words: `Fragment was answered 500, 0x80200020`. */
export function describe({ asked, status, hresult }: Judged): string {
  const code = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
  return `${asked === 'Reply' ? 'The GET for the reply' : asked} was answered ${status}${code}`
}

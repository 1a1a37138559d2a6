import { isAck } from '../../client/ack.ts'
import { Hresult, removedContentLength } from '../../client/response-policy.ts'
import { field } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
import type { RawResponse } from './prober.ts'

/** Why a packet was refused, as far as the answer shows, and what to do about it. */
export interface Explanation {
  readonly reason: string
  readonly remedy: string
}

interface ExplanationRule extends Explanation {
  readonly when: (answer: RawResponse) => boolean
}

const statusBetween =
  (low: number, high = low) =>
  (answer: RawResponse) =>
    answer.status >= low && answer.status <= high

/** How to allow larger bodies. */
export const bodyRemedy =
  'Windows sends up to 13 MB in a request: allow them. nginx: client_max_body_size 0. IIS: maxAllowedContentLength. ' +
  'Apache: LimitRequestBody 0. express-bits-upload: maxFragmentSize, and no body parser in front.'

const noServer: Explanation = {
  reason: 'a web server answers, but no BITS server at this URL',
  remedy:
    'Check the path. With express-bits-upload: is bitsUpload() mounted there, before any handler that answers all requests? ' +
    'With IIS: is the BITS extension installed, and are uploads enabled for this directory?',
}

/**
 * The first row that matches applies. Answers of BITS servers come first, because their reason is certain.
 */
const explanationRules: readonly ExplanationRule[] = [
  {
    when: (answer) => answer.hresult === Hresult.SessionNotFound,
    reason: 'the server does not know the session',
    remedy:
      'All packets of an upload must reach the same server: see examples/many-nodes/README.md. Does the server share its sessions, ' +
      'or send its own name as BITS-Host-Id?',
  },
  {
    when: (answer) => answer.hresult === Hresult.TooLarge,
    reason: 'the file is larger than the server accepts',
    remedy: 'Raise maxSize (IIS: BITSMaximumUploadSize).',
  },
  {
    when: (answer) => answer.status === 501 && isAck(answer.headers),
    reason: 'uploads are disabled',
    remedy: 'Enable them: the option `enabled` of bitsUpload() (IIS: BITSUploadEnabled).',
  },
  {
    when: (answer) =>
      isAck(answer.headers) && (answer.status === 403 || answer.hresult === Hresult.AccessDenied),
    reason: 'access is denied',
    remedy:
      'Is this user allowed to upload there? See --user and --header, and the hooks `authorize` and `onCreate` ' +
      '(IIS: the permissions of the folder).',
  },
  {
    when: (answer) => isAck(answer.headers) && answer.status === 404,
    reason: 'the folder does not exist',
    remedy:
      'Create the folder on the server, or let the server create it: fileStore(directory, { createFolders: true }).',
  },
  {
    when: (answer) => isAck(answer.headers) && answer.status === 400,
    reason: 'the server finds the packet or its URL invalid',
    remedy: `Check the path: some names are refused. If it is correct, a proxy may change the packets. ${removedContentLength}`,
  },
  {
    when: (answer) => isAck(answer.headers) && answer.status === 503,
    reason: 'too many uploads are open, or the server is stopping',
    remedy: 'Wait, or raise maxSessions and maxSessionsPerOwner (IIS: BITSNumberOfSessionsLimit).',
  },
  {
    when: (answer) => isAck(answer.headers) && statusBetween(500, 599)(answer),
    reason: 'the server failed',
    remedy: 'See its log; with express-bits-upload the event `failed` has the cause.',
  },
  {
    when: statusBetween(429),
    reason: 'the server or a proxy limits the number of requests',
    remedy:
      'Raise the limit for this path, or let the limiter answer 503: after 429 Windows ends the job, after 503 it tries again.',
  },
  {
    when: statusBetween(411),
    reason: 'the server requires Content-Length',
    remedy: removedContentLength,
  },
  {
    when: statusBetween(407),
    reason: 'a proxy requires credentials',
    remedy: 'Allow this host in the proxy without credentials, or bypass the proxy.',
  },
  {
    when: statusBetween(502, 504),
    reason: 'a proxy got no answer from the server behind it',
    remedy:
      'Does the server run at the address that the proxy has, and is its timeout long enough (nginx: proxy_read_timeout)?',
  },
  {
    when: (answer) => answer.status === 404 || answer.status === 405,
    ...noServer,
  },
  { when: (answer) => answer.status === 200, ...noServer },
  {
    when: statusBetween(400),
    reason: 'the web server does not know the method',
    remedy:
      'A Node server knows it after bitsUpload(), or acceptBitsPost(server), was called in the same process. ' +
      'Any other server needs BITS.',
  },
  {
    when: statusBetween(403),
    reason: 'the request is refused, but not by a BITS server',
    remedy:
      'A firewall, or a filter of the web server, may refuse the method, the name or the client: see its log.',
  },
  {
    when: statusBetween(413),
    reason: 'the body is too large for a proxy',
    remedy: bodyRemedy,
  },
  {
    when: statusBetween(501),
    reason: 'the web server does not know the method, and is not a BITS server',
    remedy: noServer.remedy,
  },
  {
    when: statusBetween(500, 599),
    reason: 'a server failed that is not a BITS server',
    remedy:
      'See the log of the server or proxy that answers (the field Server may name it), and of the BITS server.',
  },
]

/** Why a packet was refused. */
export function explain(answer: RawResponse): Explanation {
  if (statusBetween(300, 399)(answer)) return redirection(answer)
  if (answer.status === 401) return unauthorized(answer)
  return (
    explanationRules.find(({ when }) => when(answer)) ?? {
      reason: isAck(answer.headers) ? 'the server refuses' : noServer.reason,
      remedy: noServer.remedy,
    }
  )
}

function redirection({ headers }: RawResponse): Explanation {
  const location = printable(field(headers, 'location') ?? 'no location')
  return {
    reason: `it redirects to ${location}, and BITS ends the job instead of following`,
    remedy: 'Use that URL in the clients, or turn the redirection off for this path.',
  }
}

function unauthorized({ headers }: RawResponse): Explanation {
  const schemes = [
    ...new Set(
      (field(headers, 'www-authenticate') ?? '').match(
        /\b(?:Basic|Digest|NTLM|Negotiate|Bearer)\b(?=\s|,|$)/gi,
      ) ?? [],
    ),
  ]
  const known = schemes.some((scheme) => /^(?:basic|digest)$/i.test(scheme))
  return {
    reason: `credentials are required${schemes.length ? `, by ${schemes.join(', ')}` : ', but the answer names no scheme'}`,
    remedy: known
      ? 'Pass --user NAME:PASSWORD. If you did, they were refused. On Windows: Start-BitsTransfer -Authentication … -Credential ….'
      : 'Windows supports Negotiate and NTLM, this command only Basic and Digest: it cannot check further. See examples/authentication/README.md, and --header for tokens.',
  }
}

/** `404, 0x80070005 by nginx`: the status, and the HRESULT and the server if the answer has them. */
export function formatResponse(answer: RawResponse): string {
  const { status, hresult, headers } = answer
  const server = field(headers, 'server') ?? field(headers, 'x-powered-by')
  const code = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
  return `${status}${code}${server === undefined ? '' : ` by ${printable(server).slice(0, 60)}`}`
}

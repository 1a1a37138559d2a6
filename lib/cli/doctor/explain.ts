import { Hresult } from '../../client/response-policy.ts'
import { field } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
import { isAck, type RawResponse } from './prober.ts'

/** Why something was refused, as far as an answer tells, and what to do about it. */
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

/** What lets larger bodies pass. */
export const bodyRemedy =
  'Windows sends up to 13 MB at once; let them pass. nginx: client_max_body_size 0. IIS: maxAllowedContentLength. ' +
  'Apache: LimitRequestBody 0. express-bits-upload: maxFragmentSize, and no body parser in front.'

const noServer: Explanation = {
  reason: 'a web server answers, but no BITS server at this URL',
  remedy:
    'Check the path. With express-bits-upload: is bitsUpload() mounted there, before anything that answers by itself? ' +
    'With IIS: is the BITS extension installed, and are uploads enabled for this directory?',
}

/** The first row that fits. Those of BITS servers come first, for what they say is sure. */
const explanationRules: readonly ExplanationRule[] = [
  {
    when: (answer) => answer.hresult === Hresult.SessionNotFound,
    reason: 'the server does not know the session',
    remedy:
      'Packets of one upload have to reach the same server: see "Farms" of the README. Does it share its sessions, or ' +
      'name itself by BITS-Host-Id?',
  },
  {
    when: (answer) => answer.hresult === Hresult.TooLarge,
    reason: 'the file is larger than the server takes',
    remedy: 'Raise maxSize (IIS: BITSMaximumUploadSize).',
  },
  {
    when: (answer) => answer.status === 501 && isAck(answer),
    reason: 'uploads are disabled',
    remedy: 'Enable them: the option `enabled` of bitsUpload() (IIS: BITSUploadEnabled).',
  },
  {
    when: (answer) => isAck(answer) && (answer.status === 403 || answer.hresult === Hresult.AccessDenied),
    reason: 'access is denied',
    remedy:
      'May this user, or anybody, upload there? See --user and --header, and the hooks `authorize` and `onCreate` ' +
      '(IIS: the permissions of the folder).',
  },
  {
    when: (answer) => isAck(answer) && answer.status === 404,
    reason: 'the folder is not there',
    remedy: 'Make the folder on the server, or let it: fileStore(directory, { createFolders: true }).',
  },
  {
    when: (answer) => isAck(answer) && answer.status === 400,
    reason: 'the server finds the packet or its URL invalid',
    remedy:
      'Check the path: some names are refused. If it is right, what stands in between may change the packets.',
  },
  {
    when: (answer) => isAck(answer) && answer.status === 503,
    reason: 'too many uploads are open, or the server is stopping',
    remedy: 'Wait, or raise maxSessions and maxSessionsPerOwner (IIS: BITSNumberOfSessionsLimit).',
  },
  {
    when: (answer) => isAck(answer) && statusBetween(500, 599)(answer),
    reason: 'the server failed',
    remedy: 'Its log says why; with express-bits-upload the event `failed` has the cause.',
  },
  {
    when: statusBetween(407),
    reason: 'a proxy wants to know who asks',
    remedy: 'Let the proxy pass this host without credentials, or go past it.',
  },
  {
    when: statusBetween(502, 504),
    reason: 'what stands in front did not get an answer from the server behind it',
    remedy:
      'Does the server run where the proxy looks for it, and is its time-out long enough (nginx: proxy_read_timeout)?',
  },
  {
    when: (answer) => answer.status === 404 || answer.status === 405,
    ...noServer,
  },
  { when: (answer) => answer.status === 200, ...noServer },
  {
    when: statusBetween(400),
    reason: 'what listens there does not know the verb',
    remedy:
      'A Node server knows it once bitsUpload() was called, in the same process; see "Servers that Node does not report". ' +
      'Any other has to have BITS.',
  },
  {
    when: statusBetween(403),
    reason: 'something refuses the request, and it is not a BITS server',
    remedy:
      'A firewall, or a filter of the web server, may refuse the verb, the name or the client: see its log.',
  },
  {
    when: statusBetween(413),
    reason: 'the body is too large for something in between',
    remedy: bodyRemedy,
  },
  {
    when: statusBetween(501),
    reason: 'it knows no such verb, and is no BITS server',
    remedy: noServer.remedy,
  },
  {
    when: statusBetween(500, 599),
    reason: 'something fails, and it is not a BITS server',
    remedy: "See the log of what answers there, which the field Server may name, and the server's own.",
  },
]

/** Why a packet was refused. */
export function explain(answer: RawResponse): Explanation {
  if (statusBetween(300, 399)(answer)) return redirection(answer)
  if (answer.status === 401) return unauthorized(answer)
  return (
    explanationRules.find(({ when }) => when(answer)) ?? {
      reason: isAck(answer) ? 'the server refuses' : noServer.reason,
      remedy: noServer.remedy,
    }
  )
}

function redirection({ headers }: RawResponse): Explanation {
  const location = printable(field(headers, 'location') ?? 'nowhere')
  return {
    reason: `it is a redirection to ${location}, and BITS ends the job rather than follow one`,
    remedy: `Give clients the URL that it leads to, or end the redirection for this path.`,
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
    reason: `it wants credentials, ${schemes.length ? `by ${schemes.join(', ')}` : 'and does not say of which kind'}`,
    remedy: known
      ? 'Say --user NAME:PASSWORD. If you did, it was refused. On Windows: Start-BitsTransfer -Authentication … -Credential ….'
      : 'Windows signs in by Negotiate and NTLM, this command only by Basic and Digest: it cannot look further. See the README\'s "Authentication", and --header for tokens.',
  }
}

/** `404, 0x80070005, by nginx`, as far as there is more than the status. */
export function formatResponse(answer: RawResponse): string {
  const { status, hresult, headers } = answer
  const server = field(headers, 'server') ?? field(headers, 'x-powered-by')
  const code = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
  return `${status}${code}${server === undefined ? '' : ` by ${printable(server).slice(0, 60)}`}`
}

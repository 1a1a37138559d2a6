import { setTimeout as delay } from 'node:timers/promises'
import { isAck } from '../../client/ack.ts'
import { field, type HeaderFields, ReplyUrlHeader } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
import { type Check, type CheckContext, type Finding, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { checkHeld } from './fragments.ts'
import { isSuccessAck, NoResponse, orNoResponse, type RawResponse } from './prober.ts'

const CompleteFileSize = 1024
/** Milliseconds after which a Last-Modified that follows the clock has changed. */
const LastModifiedStepMs = 1_100
/** Bytes of its fragments. */
const FragmentLengths = [400, 400, 224] as const

/** A complete upload, whose file stays on the server, and its reply if the server has one. */
export const completeUploadCheck: Check = {
  name: 'complete upload',
  async *run(context) {
    const sessionId = await context.create()
    let held = 0
    let replyUrl: string | undefined
    for (const length of FragmentLengths) {
      const answer = await orNoResponse(context.fragment(held, length, CompleteFileSize, sessionId))
      held += length
      const isLast = held === CompleteFileSize
      const mayStay = isLast ? `. The file may be on the server: ${context.target.href}` : ''
      if (answer instanceof NoResponse) {
        yield fault(
          `A Fragment of a complete upload is not answered: ${answer.message}${mayStay}`,
          'See the logs of the server and of the proxies for this time. A hook for the complete file may take long.',
        )
        return true
      }
      const which = isLast ? 'last' : held === FragmentLengths[0] ? 'first' : 'second'
      const wrong = checkFragment(`The ${which} Fragment of a complete upload`, answer, held)
      if (wrong) {
        const isRefused = isAck(answer.headers) && answer.status >= 400
        yield { ...wrong, text: `${wrong.text}${isRefused ? '' : mayStay}` }
        return true
      }
      replyUrl = field(answer.headers, ReplyUrlHeader)?.trim()
    }
    yield ok(`A complete upload succeeds; unless the server moved the file, it is at ${context.target.href}`)
    const reply = replyUrl ? locate(replyUrl, context.target) : undefined
    if (reply) yield* beforeClose(context, reply)
    const closed = await context.end('Close-Session', sessionId)
    if (isSuccessAck(closed)) {
      yield ok(`Its Close-Session is answered ${closed.status}`)
    } else {
      const { reason, remedy } = explain(closed)
      yield fault(`Its Close-Session is answered ${formatResponse(closed)}: ${reason}`, remedy)
    }
    if (reply && belongsToSession(reply)) yield* afterClose(context, reply)
    return true
  },
}

function checkFragment(what: string, answer: RawResponse, held: number): Finding | undefined {
  if (isSuccessAck(answer)) return checkHeld(what, answer, held)
  const { reason, remedy } = explain(answer)
  return fault(`${what} is answered ${formatResponse(answer)}: ${reason}`, remedy)
}

/** Resolves the URL of a reply relative to the destination. IIS writes backslashes and unescaped braces. */
function locate(reference: string, target: URL): URL | undefined {
  const text = reference.replaceAll('\\', '/')
  return URL.canParse(text, target.href) ? new URL(text, target) : undefined
}

/** Whether the server removes the reply with the session. A reply at another URL stays. */
const belongsToSession = ({ pathname }: URL): boolean => /\/BITS-Sessions\/Replies\//i.test(pathname)

async function* beforeClose(context: CheckContext, url: URL): AsyncGenerator<Finding> {
  const head = await orNoResponse(context.fetchReply(url, 'HEAD'))
  const where = printable(url.href)
  if (head instanceof NoResponse) {
    yield unanswered(url, head)
    return
  }
  if (head.status !== 200) {
    yield fault(
      `HEAD of the reply at ${where} is answered ${formatResponse(head)}`,
      'GET and HEAD of this URL must reach the server by the same route as the packets.',
    )
    return
  }
  yield* context.unreported(replyFormat(head.headers))
  const length = Number(field(head.headers, 'content-length') ?? 0)
  // An empty reply has no ranges.
  const part = length > 0 ? await orNoResponse(context.fetchReply(url, 'GET', 'bytes=0-0')) : undefined
  if (part instanceof NoResponse) {
    yield unanswered(url, part)
    return
  }
  if (part && part.status >= 400 && part.status !== 416) {
    yield fault(
      `GET of the reply at ${where} is refused: it is answered ${formatResponse(part)}, and HEAD ${head.status}`,
      'Allow GET at this URL, for the same clients as the packets: a filter of methods, or a rule for the folder of the ' +
        'replies, may refuse it.',
    )
    return
  }
  if (part && (part.status !== 206 || part.bodyLength !== 1)) {
    yield fault(
      `GET of the first byte of the reply is answered ${formatResponse(part)} with ${part.bodyLength} bytes: no ranges`,
      'BITS fetches replies in ranges: let 206 and Content-Range pass (nginx: no proxy_force_ranges off, no filter that ' +
        'changes the body).',
    )
    return
  }
  if (part) yield* context.unreported(replyFormat(part.headers))
  // Last-Modified has a resolution of a second.
  await delay(LastModifiedStepMs)
  const whole = await orNoResponse(context.fetchReply(url, 'GET'))
  if (whole instanceof NoResponse) {
    yield unanswered(url, whole)
    return
  }
  if (whole.status !== 200) {
    yield fault(`GET of the reply is answered ${formatResponse(whole)}`, explain(whole).remedy)
    return
  }
  const times = [head, part, whole].flatMap(
    (answer) => (answer && field(answer.headers, 'last-modified')) ?? [],
  )
  if (new Set(times).size > 1) {
    yield fault(
      `Last-Modified of the reply changes from ${printable(times[0] ?? '')} to ${printable(times.at(-1) ?? '')}`,
      'Windows then gets 412 or starts the download again: send the time of the reply, not that of the request, also from ' +
        'each node of a farm.',
    )
    return
  }
  yield* context.unreported(replyFormat(whole.headers))
  yield ok(`Its reply can be fetched, whole and in ranges: ${printable(url.href)}`)
}

/** A request for the reply without a response. The reply may be on another server than the upload. */
function unanswered(url: URL, { request, message }: NoResponse): Finding {
  return fault(
    `The host of the reply cannot be reached: ${request} of ${printable(url.href)} is not answered: ${message}`,
    'Clients must reach the host and the port of this URL, which the server sends as BITS-Reply-URL.',
  )
}

/** Checks the fields that BITS requires of each download (win32: HTTP requirements for BITS downloads). */
function* replyFormat(headers: HeaderFields): Generator<Finding> {
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') {
    yield fault(`The reply is compressed (${encoding})`, 'Turn compression off for this path.')
  } else if (field(headers, 'content-length') === undefined) {
    yield fault(
      'The reply comes without Content-Length',
      'Find what removes the field or makes the body chunked: compression, or a filter of a proxy.',
    )
  }
  if (field(headers, 'last-modified') === undefined) {
    yield fault(
      'The reply comes without Last-Modified',
      'BITS needs it to see that the reply has not changed: let the field pass.',
    )
  }
}

async function* afterClose(context: CheckContext, url: URL): AsyncGenerator<Finding> {
  const answer = await context.fetchReply(url, 'GET')
  if (answer.status === 404) yield ok('The reply is gone after Close-Session')
  else {
    yield warning(
      `The reply is still there after Close-Session: ${formatResponse(answer)}`,
      'The server removes it with the session. If a proxy caches it: turn the cache off for this path.',
    )
  }
}

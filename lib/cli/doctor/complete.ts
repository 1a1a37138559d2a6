import { field, type HeaderFields, ReplyUrlHeader } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
import { type Check, type CheckContext, type Finding, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { heldBy } from './fragments.ts'
import { isSuccess } from './prober.ts'

const Total = 1024
/** Bytes of its three fragments. */
const Lengths = [400, 400, 224] as const

/** A whole upload, which leaves a file; and its reply, if the server has one. */
export const completeUploadCheck: Check = {
  name: 'a whole upload',
  async *run(context) {
    const sessionId = await context.create()
    let held = 0
    let replyUrl: string | undefined
    for (const length of Lengths) {
      const answer = await context.fragment(held, length, Total, sessionId)
      held += length
      if (!isSuccess(answer) || heldBy(answer) !== held) {
        const { reason, remedy } = explain(answer)
        const which = held === Total ? 'last' : held === Lengths[0] ? 'first' : 'second'
        yield fault(
          `The ${which} Fragment of a whole upload is answered ${formatResponse(answer)}: ${reason}`,
          remedy,
        )
        return true
      }
      replyUrl = field(answer.headers, ReplyUrlHeader)?.trim()
    }
    yield ok(
      `A whole upload is taken; unless the server does otherwise with it, it is at ${context.target.href}`,
    )
    const reply = replyUrl ? locate(replyUrl, context.target) : undefined
    if (reply) yield* beforeClose(context, reply)
    const closed = await context.end('Close-Session', sessionId)
    if (isSuccess(closed)) {
      yield ok(`Its Close-Session is answered ${closed.status}`)
    } else {
      const { reason, remedy } = explain(closed)
      yield fault(`Its Close-Session is answered ${formatResponse(closed)}: ${reason}`, remedy)
    }
    if (reply && isSessions(reply)) yield* afterClose(context, reply)
    return true
  },
}

/** Relative to the destination; IIS writes backslashes and bare braces. */
function locate(reference: string, target: URL): URL | undefined {
  const text = reference.replaceAll('\\', '/')
  return URL.canParse(text, target.href) ? new URL(text, target) : undefined
}

/** Whether it ends with the session: what stands elsewhere stays there. */
const isSessions = ({ pathname }: URL): boolean => /\/BITS-Sessions\/Replies\//i.test(pathname)

async function* beforeClose(context: CheckContext, url: URL): AsyncGenerator<Finding> {
  const head = await context.prober.fetch('HEAD', url)
  if (head.status !== 200) {
    yield fault(
      `The reply at ${printable(url.href)} is answered ${formatResponse(head)} to HEAD`,
      'GET and HEAD have to reach the server there, by the same way as the packets do.',
    )
    return
  }
  yield* context.unreported(form(head.headers))
  const length = Number(field(head.headers, 'content-length') ?? 0)
  // Of an empty reply there is no part.
  const part = length > 0 ? await context.prober.fetch('GET', url, 'bytes=0-0') : undefined
  if (part && (part.status !== 206 || part.bodyLength !== 1)) {
    yield fault(
      `The first byte of the reply is answered ${formatResponse(part)}, with ${part.bodyLength} bytes: no ranges`,
      'BITS fetches replies in ranges: let 206 and Content-Range pass (nginx: no proxy_force_ranges off, no filter that ' +
        'changes the body).',
    )
    return
  }
  if (part) yield* context.unreported(form(part.headers))
  const whole = await context.prober.fetch('GET', url)
  yield* context.unreported(form(whole.headers))
  if (whole.status === 200) yield ok(`Its reply can be fetched, whole and in ranges: ${printable(url.href)}`)
  else yield fault(`The reply is answered ${formatResponse(whole)} to GET`, explain(whole).remedy)
}

/** What BITS wants of everything that it fetches (win32: HTTP requirements for BITS downloads). */
function* form(headers: HeaderFields): Generator<Finding> {
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') {
    yield fault(`The reply is compressed (${encoding})`, 'Turn compression off for this path.')
  } else if (field(headers, 'content-length') === undefined) {
    yield fault(
      'The reply comes without Content-Length',
      'Find what takes it away, or makes it chunked: a compression, or a filter of a proxy.',
    )
  }
  if (field(headers, 'last-modified') === undefined) {
    yield fault(
      'The reply comes without Last-Modified',
      'By it BITS sees that it is still the same: let the field pass.',
    )
  }
}

async function* afterClose(context: CheckContext, url: URL): AsyncGenerator<Finding> {
  const answer = await context.prober.fetch('GET', url)
  if (answer.status === 404) yield ok('The reply is gone after Close-Session')
  else {
    yield warning(
      `The reply is still there after Close-Session: ${formatResponse(answer)}`,
      'It ends with its session. Does something in between keep it? Let it not cache this path.',
    )
  }
}

import { field, ReceivedContentRangeHeader } from '../../protocol/headers.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type Finding, fault, ok } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isAck, type RawResponse } from './prober.ts'

/** Bytes of the file whose end never comes. */
export const UnfinishedFileSize = 1024 * 1024

/** How many bytes an Ack says to be held; undefined where it does not, or where there is no number. */
export function heldBy({ headers }: RawResponse): number | undefined {
  const text = field(headers, ReceivedContentRangeHeader)?.trim() ?? ''
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

const steps = [
  { what: 'The first Fragment', start: 0, length: 1000, status: 200, held: 1000 },
  { what: 'A Fragment that was sent before', start: 0, length: 1000, status: 200, held: 1000 },
  { what: 'A Fragment behind a gap', start: 2000, length: 1000, status: 416, held: 1000 },
  { what: 'A Fragment that overlaps what is there', start: 500, length: 1000, status: 200, held: 1500 },
] as const

/** Small fragments in the order in which they belong, and in others, as clients send them after a break. */
export const fragments: Check = {
  name: 'Fragments',
  async *run(context) {
    for (const { what, start, length, status, held } of steps) {
      const answer = await context.fragment(start, length, UnfinishedFileSize)
      yield* context.unreported(ackFormat(answer))
      const wrong = checkResponse(what, answer, status, held)
      yield wrong ?? ok(`${what} is answered ${status}, and ${held} bytes are held`)
      if (wrong) return false
    }
    return true
  },
}

function checkResponse(what: string, answer: RawResponse, status: number, held: number): Finding | undefined {
  const got = heldBy(answer)
  if (!isAck(answer) && answer.status === 416) {
    return fault(
      `${what} is answered 416, but not by the server: the page of an error stands in its place`,
      "Let the server's own answers pass: nginx: proxy_intercept_errors off; IIS: httpErrors existingResponse='PassThrough'.",
    )
  }
  if (answer.status !== status) {
    if (answer.status >= 400 && answer.status !== 416) {
      const { reason, remedy } = explain(answer)
      return fault(`${what} is answered ${formatResponse(answer)}: ${reason}`, remedy)
    }
    return fault(
      `${what} is answered ${formatResponse(answer)}, and the protocol says ${status}`,
      'Uploads that break off cannot be resumed, or lose bytes, with such a server: see [MC-BUP] 3.2.5.1.4, and use another.',
    )
  }
  if (!isAck(answer)) {
    const { reason, remedy } = explain(answer)
    return fault(`${what} is answered ${formatResponse(answer)}, but not with an Ack: ${reason}`, remedy)
  }
  if (got === held) return undefined
  const says = field(answer.headers, ReceivedContentRangeHeader)
  return fault(
    `${what} is answered ${status} ${says === undefined ? 'without BITS-Received-Content-Range' : `with BITS-Received-Content-Range: ${says}`}, where ${held} bytes should be held`,
    'Clients go on from that number. The server has to send it with 200 and with 416, and no proxy may take it away.',
  )
}

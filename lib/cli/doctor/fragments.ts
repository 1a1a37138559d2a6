import { isAck } from '../../client/ack.ts'
import { field, ReceivedContentRangeHeader } from '../../protocol/headers.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type Finding, fault, ok } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import type { RawResponse } from './prober.ts'

/** Bytes of the probe upload, which is never finished. */
export const ProbeFileSize = 1024 * 1024

/** How many bytes the server holds, according to an Ack; undefined if the Ack does not contain a number. */
export function heldBy({ headers }: RawResponse): number | undefined {
  const text = field(headers, ReceivedContentRangeHeader)?.trim() ?? ''
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

const steps = [
  { what: 'The first Fragment', start: 0, length: 1000, status: 200, held: 1000 },
  { what: 'A Fragment that was sent before', start: 0, length: 1000, status: 200, held: 1000 },
  { what: 'A Fragment after a gap', start: 2000, length: 1000, status: 416, held: 1000 },
  { what: 'A Fragment that overlaps held bytes', start: 500, length: 1000, status: 200, held: 1500 },
] as const

/** Small fragments in order and out of order, as clients send them after an interruption. */
export const fragments: Check = {
  name: 'Fragments',
  async *run(context) {
    for (const { what, start, length, status, held } of steps) {
      const answer = await context.fragment(start, length, ProbeFileSize)
      yield* context.unreported(ackFormat(answer))
      const wrong = checkResponse(what, answer, status, held)
      yield wrong ?? ok(`${what} is answered ${status}, and ${held} bytes are held`)
      if (wrong) return false
    }
    return true
  },
}

function checkResponse(what: string, answer: RawResponse, status: number, held: number): Finding | undefined {
  if (!isAck(answer.headers) && answer.status === 416) {
    return fault(
      `${what} is answered 416, but not by the server: an error page replaces its Ack`,
      "Let the answers of the server pass: nginx: proxy_intercept_errors off; IIS: httpErrors existingResponse='PassThrough'.",
    )
  }
  if (answer.status !== status) {
    if (answer.status >= 400 && answer.status !== 416) {
      const { reason, remedy } = explain(answer)
      return fault(`${what} is answered ${formatResponse(answer)}: ${reason}`, remedy)
    }
    return fault(
      `${what} is answered ${formatResponse(answer)}, and the protocol requires ${status}`,
      'With such a server interrupted uploads cannot be resumed, or lose bytes: see [MC-BUP] 3.2.5.1.4. Use another server.',
    )
  }
  if (!isAck(answer.headers)) {
    const { reason, remedy } = explain(answer)
    return fault(`${what} is answered ${formatResponse(answer)}, but not with an Ack: ${reason}`, remedy)
  }
  if (heldBy(answer) === held) return undefined
  const value = field(answer.headers, ReceivedContentRangeHeader)
  const range =
    value === undefined ? 'without BITS-Received-Content-Range' : `with BITS-Received-Content-Range: ${value}`
  return fault(
    `${what} is answered ${status} ${range}, where ${held} bytes should be held`,
    'Clients continue from that number. The server must send it with 200 and with 416, and no proxy may remove it.',
  )
}

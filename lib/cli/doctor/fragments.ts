import { isAck } from '../../client/ack.ts'
import { field, ReceivedContentRangeHeader } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
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

/** The right answers to a fragment: the number of held bytes by status. */
type RightAnswers = Readonly<Record<number, number>>

interface Step {
  readonly what: string
  readonly start: number
  readonly length: number
  readonly held: RightAnswers
}

/**
 * A server may take a fragment that begins before its offset, or answer 416 with the offset ([MC-BUP]
 * 3.2.5.2.6); clients continue from the offset in both cases.
 */
const steps: readonly Step[] = [
  { what: 'The first Fragment', start: 0, length: 1000, held: { 200: 1000 } },
  { what: 'A Fragment that was sent before', start: 0, length: 1000, held: { 200: 1000, 416: 1000 } },
  { what: 'A Fragment after a gap', start: 2000, length: 1000, held: { 416: 1000 } },
  { what: 'A Fragment that overlaps held bytes', start: 500, length: 1000, held: { 200: 1500, 416: 1000 } },
]

/** Small fragments in order and out of order, as clients send them after an interruption. */
export const fragments: Check = {
  name: 'Fragments',
  async *run(context) {
    for (const { what, start, length, held } of steps) {
      const answer = await context.fragment(start, length, ProbeFileSize)
      yield* context.unreported(ackFormat(answer))
      const wrong = checkResponse(what, answer, held)
      yield wrong ?? ok(`${what} is answered ${answer.status}, and ${heldBy(answer)} bytes are held`)
      if (wrong) return false
    }
    return true
  },
}

function checkResponse(what: string, answer: RawResponse, right: RightAnswers): Finding | undefined {
  if (!isAck(answer.headers) && answer.status === 416) {
    return fault(
      `${what} is answered 416, but not by the server: an error page replaces its Ack`,
      "Let the answers of the server pass: nginx: proxy_intercept_errors off; IIS: httpErrors existingResponse='PassThrough'.",
    )
  }
  const held = right[answer.status]
  if (held === undefined) {
    if (answer.status >= 400 && answer.status !== 416) {
      const { reason, remedy } = explain(answer)
      return fault(`${what} is answered ${formatResponse(answer)}: ${reason}`, remedy)
    }
    return fault(
      `${what} is answered ${formatResponse(answer)}, and the protocol requires ${Object.keys(right).join(' or ')}`,
      'With such a server interrupted uploads cannot be resumed, or lose bytes: see [MC-BUP] 3.2.5.1.4. Use another server.',
    )
  }
  if (!isAck(answer.headers)) {
    const { reason, remedy } = explain(answer)
    return fault(`${what} is answered ${formatResponse(answer)}, but not with an Ack: ${reason}`, remedy)
  }
  return checkHeld(what, answer, held)
}

/** The fault of an Ack with another number of held bytes; undefined if the number is right. */
export function checkHeld(what: string, answer: RawResponse, held: number): Finding | undefined {
  if (heldBy(answer) === held) return undefined
  const value = field(answer.headers, ReceivedContentRangeHeader)
  const similar = Object.keys(answer.headers).find((name) => /^bits-.*(?:range|receiv|offset)/.test(name))
  const instead = similar === undefined ? '' : ` (but with ${printable(similar)})`
  const range =
    value === undefined
      ? `without BITS-Received-Content-Range${instead}`
      : `with BITS-Received-Content-Range: ${value}`
  return fault(
    `${what} is answered ${answer.status} ${range}, where ${held} bytes should be held`,
    'Clients continue from that number. The server must send it with 200 and with 416, and no proxy may remove it.',
  )
}

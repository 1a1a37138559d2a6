import { setTimeout as delay } from 'node:timers/promises'
import { SmallestFragment } from '../../client/fragment.ts'
import { formatSize } from '../format.ts'
import { type Check, type CheckContext, fault, fragmentRange, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { heldBy, ProbeFileSize } from './fragments.ts'
import { NoResponse, type RawResponse } from './prober.ts'

/** Bytes of the fragment, or as many as pass. Half of it is sent. */
const ProbeLength = 512 * 1024
/** Milliseconds for the bytes to arrive at the server before the connection is closed. */
const SettleTimeMs = 500
/** Milliseconds between two questions for the offset. */
const PollIntervalMs = 200
const MaxPolls = 10

/** Ends the body of the fragment, and so the connection, as when a laptop is closed. */
class Interrupted extends Error {}

/** Whether the server holds bytes of an interrupted fragment, or a proxy waited for the whole fragment. */
export const buffering: Check = {
  name: 'request buffering',
  async *run(context) {
    const before = heldBy(await askOffset(context))
    const length = Math.min(ProbeLength, context.maxFragment)
    // A fragment that is too small, or reaches the end of the file, shows nothing.
    if (before === undefined || length < SmallestFragment || before + length >= ProbeFileSize) return true
    await sendHalf(context, before, length)
    let answer = await askOffset(context)
    for (let i = 1; i < MaxPolls && (heldBy(answer) ?? before) === before; i += 1) {
      await delay(PollIntervalMs)
      answer = await askOffset(context)
    }
    const after = heldBy(answer)
    if (after === undefined) {
      const { reason, remedy } = explain(answer)
      yield fault(
        `A Fragment after an interrupted one is answered ${formatResponse(answer)}: ${reason}`,
        remedy,
      )
    } else if (after > before) {
      const size = formatSize(after - before)
      yield ok(`Bytes are passed on as they arrive: of an interrupted Fragment ${size} are held`)
    } else {
      yield warning(
        'Of an interrupted Fragment nothing is held: a proxy buffers whole requests',
        'After each interruption up to 13 MB are sent again. nginx: proxy_request_buffering off, and ' +
          'proxy_http_version 1.1. Others: turn request buffering off.',
      )
    }
    return true
  },
}

/**
 * Asks for the offset with the last byte of the file: it comes after a gap, so that the server does not take
 * it.
 */
const askOffset = (context: CheckContext): Promise<RawResponse> =>
  context.fragment(ProbeFileSize - 1, 1, ProbeFileSize)

async function sendHalf(context: CheckContext, start: number, length: number): Promise<void> {
  const range = {
    ...fragmentRange(start, length, ProbeFileSize),
    async *read() {
      yield* fragmentRange(start, Math.floor(length / 2), ProbeFileSize).read()
      await delay(SettleTimeMs)
      throw new Interrupted()
    },
  }
  try {
    await context.send({ type: 'Fragment', sessionId: context.sessionId, range })
  } catch (error) {
    // The server or a proxy may have closed the connection before.
    if (!(error instanceof Interrupted || error instanceof NoResponse)) throw error
  }
}

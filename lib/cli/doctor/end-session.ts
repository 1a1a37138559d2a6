import { isAck } from '../../client/ack.ts'
import { Hresult } from '../../client/response-policy.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type CheckContext, type Finding, fault, ok } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isSuccessAck } from './prober.ts'

/** Close-Session and Cancel-Session. The server must not know the session afterwards. */
export const endSession: Check = {
  name: 'Close-Session and Cancel-Session',
  async *run(context) {
    yield* checkEnd(context, 'Close-Session', context.sessionId)
    const sessionId = await context.create()
    await context.fragment(0, 1000, 2000, sessionId)
    yield* checkEnd(context, 'Cancel-Session', sessionId)
    return true
  },
}

async function* checkEnd(
  context: CheckContext,
  type: 'Close-Session' | 'Cancel-Session',
  sessionId: string,
): AsyncGenerator<Finding> {
  const answer = await context.end(type, sessionId)
  yield* context.unreported(ackFormat(answer))
  if (!isSuccessAck(answer)) {
    const { reason, remedy } = explain(answer)
    yield fault(`${type} of an unfinished upload is answered ${formatResponse(answer)}: ${reason}`, remedy)
    return
  }
  const later = await context.fragment(0, 1000, 2000, sessionId)
  if (later.hresult === Hresult.SessionNotFound) {
    yield ok(`${type} is answered ${answer.status}, and the session is unknown afterwards`)
  } else {
    // Cancelled at the end, if it is still there.
    if (isAck(later.headers) && later.status < 500) context.opened(sessionId)
    yield fault(
      `After ${type} the session should be unknown (500, 0x8020001F), but a Fragment is answered ${formatResponse(later)}`,
      'Clients need this code to start the upload again. The server must send it in BITS-Error-Code or BITS-Error, and no ' +
        'proxy may replace a 500 by its own page (nginx: proxy_intercept_errors off).',
    )
  }
}

import type { Examination } from './examination.ts'
import { type Finding, fault, ok } from './finding.ts'
import { isTaken } from './line.ts'
import { refusal, SessionNotFound, shown } from './refusal.ts'
import { shape } from './shape.ts'
import type { Visit } from './visit.ts'

/** Close-Session and Cancel-Session, and that a session is unknown when it is over. */
export const ending: Examination = {
  name: 'Close-Session and Cancel-Session',
  async *examine(visit) {
    yield* over(visit, 'Close-Session', visit.sessionId)
    const sessionId = await visit.create()
    await visit.fragment(0, 1000, 2000, sessionId)
    yield* over(visit, 'Cancel-Session', sessionId)
    return true
  },
}

async function* over(
  visit: Visit,
  type: 'Close-Session' | 'Cancel-Session',
  sessionId: string,
): AsyncGenerator<Finding> {
  const answer = await visit.end(type, sessionId)
  yield* visit.news(shape(answer))
  if (!isTaken(answer)) {
    const { reason, remedy } = refusal(answer)
    yield fault(`${type} of an unfinished upload is answered ${shown(answer)}: ${reason}`, remedy)
    return
  }
  const later = await visit.fragment(0, 1000, 2000, sessionId)
  if (later.hresult === SessionNotFound) {
    yield ok(`${type} is answered ${answer.status}, and the session is unknown from then on`)
  } else {
    yield fault(
      `After ${type} the session should be unknown (500, 0x8020001F), and a Fragment is answered ${shown(later)}`,
      'By that number clients learn that they have to begin anew. The server has to send it in BITS-Error-Code or ' +
        'BITS-Error, and no proxy may put a page of its own in the place of a 500 (nginx: proxy_intercept_errors off).',
    )
  }
}

import { field } from '../../protocol/headers.ts'
import type { Examination } from './examination.ts'
import { fault, ok, warning } from './finding.ts'
import { isAck, isTaken, NoAnswer, orNone, type RawAnswer } from './line.ts'
import { refusal, shown } from './refusal.ts'
import { shape } from './shape.ts'
import type { Visit } from './visit.ts'

const remedy =
  'Allow the verb BITS_POST in what stands in front: request filtering or UrlScan of IIS, the rules of a firewall or of ' +
  'a load balancer; nginx passes it on as it is. Or have it send POST with X-HTTP-Method-Override: BITS_POST to the server.'

/** Ping: whether a BITS server answers, and if not, who does. */
export const verb: Examination = {
  name: 'the verb',
  async *examine(visit) {
    const first = await ping(visit)
    if (!(first instanceof NoAnswer) && isTaken(first)) {
      yield ok('Ping is answered by a BITS server')
      yield* visit.news(shape(first))
      return yield* keptConnection(visit, first)
    }
    const said = first instanceof NoAnswer ? `not answered: ${first.message}` : `answered ${shown(first)}`
    if (!(first instanceof NoAnswer) && (isAck(first) || isPlain(first))) {
      const { reason, remedy } = refusal(first)
      yield fault(`Ping is ${said}: ${reason}`, remedy)
      return false
    }
    visit.line.spelling = 'override'
    const second = await ping(visit)
    if (!(second instanceof NoAnswer) && isAck(second)) {
      yield fault(
        `Ping as BITS_POST is ${said}, as a POST that says so ${shown(second)}: the server is there, and something in between refuses the verb`,
        remedy,
      )
      return isTaken(second)
    }
    if (first instanceof NoAnswer) {
      yield fault(
        `Ping is ${said}`,
        'Is it the port of another protocol, of https perhaps? A firewall that hangs up at a verb that it does not know ' +
          'looks the same. See the logs on both sides.',
      )
    } else {
      const { reason, remedy } = refusal(first)
      yield fault(`Ping is ${said}: ${reason}`, remedy)
    }
    return false
  },
}

const ping = (visit: Visit): Promise<RawAnswer | NoAnswer> => orNone(visit.say({ type: 'Ping' }))

/** Whether it says all by itself, whoever says it: redirections, and those who want credentials. */
const isPlain = ({ status }: RawAnswer): boolean =>
  (status >= 300 && status <= 399) || status === 401 || status === 407

async function* keptConnection(visit: Visit, first: RawAnswer) {
  // With 1.0 that is so by itself.
  if (first.httpVersion !== '1.1') return true
  const second = await visit.say({ type: 'Ping' })
  if ([first, second].every(({ headers }) => /\bclose\b/i.test(field(headers, 'connection') ?? ''))) {
    yield warning(
      'Every answer ends the connection (Connection: close)',
      'It costs a handshake for each packet, and Negotiate and NTLM cannot sign in. Let connections be kept: Node does so ' +
        'by itself (server.keepAliveTimeout), nginx by keepalive_timeout.',
    )
  } else {
    yield ok('The connection is kept for the next packet')
  }
  return true
}

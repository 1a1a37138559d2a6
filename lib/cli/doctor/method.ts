import { field } from '../../protocol/headers.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type CheckContext, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isAck, isSuccess, NoResponse, orNoResponse, type RawResponse } from './prober.ts'

const methodAdvice =
  'Allow the verb BITS_POST in what stands in front: request filtering or UrlScan of IIS, the rules of a firewall or of ' +
  'a load balancer; nginx passes it on as it is. Or have it send POST with X-HTTP-Method-Override: BITS_POST to the server.'

/** Ping: whether a BITS server answers, and if not, who does. */
export const method: Check = {
  name: 'the verb',
  async *run(context) {
    const first = await ping(context)
    if (!(first instanceof NoResponse) && isSuccess(first)) {
      yield ok('Ping is answered by a BITS server')
      yield* context.unreported(ackFormat(first))
      return yield* keptConnection(context, first)
    }
    const said =
      first instanceof NoResponse ? `not answered: ${first.message}` : `answered ${formatResponse(first)}`
    if (!(first instanceof NoResponse) && (isAck(first) || isPlain(first))) {
      const { reason, remedy } = explain(first)
      yield fault(`Ping is ${said}: ${reason}`, remedy)
      return false
    }
    context.prober.methodStyle = 'override'
    const second = await ping(context)
    if (!(second instanceof NoResponse) && isAck(second)) {
      yield fault(
        `Ping as BITS_POST is ${said}, as a POST that says so ${formatResponse(second)}: the server is there, and something in between refuses the verb`,
        methodAdvice,
      )
      return isSuccess(second)
    }
    if (first instanceof NoResponse) {
      yield fault(
        `Ping is ${said}`,
        'Is it the port of another protocol, of https perhaps? A firewall that hangs up at a verb that it does not know ' +
          'looks the same. See the logs on both sides.',
      )
    } else {
      const { reason, remedy } = explain(first)
      yield fault(`Ping is ${said}: ${reason}`, remedy)
    }
    return false
  },
}

const ping = (context: CheckContext): Promise<RawResponse | NoResponse> =>
  orNoResponse(context.send({ type: 'Ping' }))

/** Whether it says all by itself, whoever says it: redirections, and those who want credentials. */
const isPlain = ({ status }: RawResponse): boolean =>
  (status >= 300 && status <= 399) || status === 401 || status === 407

async function* keptConnection(context: CheckContext, first: RawResponse) {
  // With 1.0 that is so by itself.
  if (first.httpVersion !== '1.1') return true
  const second = await context.send({ type: 'Ping' })
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

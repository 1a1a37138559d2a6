import { type AssignedHost, InvalidAck, readAck } from '../../client/ack.ts'
import { field, UploadProtocol } from '../../protocol/headers.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type CheckContext, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isSuccess, NoResponse, orNoResponse } from './prober.ts'

/** Create-Session for a name that nobody has, and the host that the server names for the rest. */
export const createSessionCheck: Check = {
  name: 'Create-Session',
  async *run(context) {
    const answer = await context.send({ type: 'Create-Session' })
    if (!isSuccess(answer)) {
      const { reason, remedy } = explain(answer)
      yield fault(`Create-Session is answered ${formatResponse(answer)}: ${reason}`, remedy)
      return false
    }
    yield* context.unreported(ackFormat(answer))
    let host: AssignedHost | undefined
    try {
      // What is wrong with the form was told.
      const ack = readAck('Create-Session', { ...answer, bodyLength: 0 }, undefined)
      context.sessionId = ack.sessionId ?? ''
      context.opened(context.sessionId)
      host = ack.hostId
      if (ack.protocol !== UploadProtocol) {
        yield fault(
          `Create-Session is answered with a protocol that Windows does not speak: ${ack.protocol}`,
          `The server has to choose from the client's list, which is ${UploadProtocol}.`,
        )
      }
    } catch (error) {
      if (!(error instanceof InvalidAck)) throw error
      yield fault(
        `Create-Session is taken, but ${error.message}`,
        'The server has to send it; or something in between takes fields away that it does not know.',
      )
      return false
    }
    yield ok(`Create-Session is answered ${answer.status}, with a session`)
    if (!/^identity$/i.test(field(answer.headers, 'accept-encoding')?.trim() ?? '')) {
      yield warning(
        'Create-Session is answered without Accept-Encoding: identity',
        'The protocol wants it ([MC-BUP] 2.2.3.2). If the server sends it, something in between takes it away.',
      )
    }
    return host === undefined ? true : yield* assignedHost(context, host)
  },
}

async function* assignedHost(context: CheckContext, { host, fallbackTimeout }: AssignedHost) {
  const there = new URL(context.target)
  there.hostname = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  const answer = await orNoResponse(context.prober.send({ type: 'Ping' }, there))
  if (!(answer instanceof NoResponse) && isSuccess(answer)) {
    context.target = there
    context.opened(context.sessionId)
    yield ok(`The server names the host ${host} for the rest (BITS-Host-Id), and it answers`)
    return true
  }
  const said =
    answer instanceof NoResponse ? `does not answer: ${answer.message}` : `answers ${formatResponse(answer)}`
  const wait = fallbackTimeout === undefined ? 'for ever' : `for ${fallbackTimeout} seconds`
  yield fault(
    `The server names the host ${host} for the rest (BITS-Host-Id), and that ${said}; clients try it ${wait}`,
    'The option hostId (IIS: BITSHostId) has to be a name by which clients reach that one machine, by the same port and path.',
  )
  return false
}

import { type AssignedHost, InvalidAck, readAck } from '../../client/ack.ts'
import { field, SessionIdHeader, UploadProtocol } from '../../protocol/headers.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type CheckContext, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isSuccessAck, NoResponse, orNoResponse } from './prober.ts'

/** Create-Session with a random file name, and a Ping of the host that the server assigns. */
export const createSessionCheck: Check = {
  name: 'Create-Session',
  async *run(context) {
    const answer = await context.send({ type: 'Create-Session' })
    if (!isSuccessAck(answer)) {
      const { reason, remedy } = explain(answer)
      yield fault(`Create-Session is answered ${formatResponse(answer)}: ${reason}`, remedy)
      return false
    }
    yield* context.unreported(ackFormat(answer))
    let host: AssignedHost | undefined
    // Also of an Ack that is wrong otherwise, so that the session is cancelled.
    context.created(field(answer.headers, SessionIdHeader)?.trim())
    try {
      // A body was reported by `ackFormat`.
      const ack = readAck('Create-Session', { ...answer, bodyLength: 0 }, undefined)
      context.sessionId = ack.sessionId ?? ''
      host = ack.hostId
      if (ack.protocol !== UploadProtocol) {
        yield fault(
          `Create-Session is answered with a protocol that Windows does not support: ${ack.protocol}`,
          `The server must choose from the list of the client, which is ${UploadProtocol}.`,
        )
      }
    } catch (error) {
      if (!(error instanceof InvalidAck)) throw error
      yield fault(
        `Create-Session succeeds, but ${error.message}`,
        'Either the server does not send it, or a proxy removes header fields that it does not know.',
      )
      return false
    }
    yield ok(`Create-Session is answered ${answer.status}, with a session`)
    if (!/^identity$/i.test(field(answer.headers, 'accept-encoding')?.trim() ?? '')) {
      yield warning(
        'Create-Session is answered without Accept-Encoding: identity',
        'The protocol requires it ([MC-BUP] 2.2.3.2). If the server sends it, a proxy removes it.',
      )
    }
    return host === undefined ? true : yield* assignedHost(context, host)
  },
}

async function* assignedHost(context: CheckContext, { host, fallbackTimeout }: AssignedHost) {
  const target = new URL(context.target)
  target.hostname = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  const answer = await orNoResponse(context.prober.send({ type: 'Ping' }, target))
  if (!(answer instanceof NoResponse) && isSuccessAck(answer)) {
    context.target = target
    context.opened(context.sessionId)
    yield ok(`The server assigns the host ${host} for the later packets (BITS-Host-Id), and it answers`)
    return true
  }
  const outcome =
    answer instanceof NoResponse ? `does not answer: ${answer.message}` : `answers ${formatResponse(answer)}`
  const time = fallbackTimeout === undefined ? 'forever' : `for ${fallbackTimeout} seconds`
  yield fault(
    `The server assigns the host ${host} for the later packets (BITS-Host-Id), and it ${outcome}; clients try it ${time}`,
    'The option hostId (IIS: BITSHostId) must be a name at which clients reach that machine, with the same port and path.',
  )
  return false
}

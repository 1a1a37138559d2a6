import { type AssignedHost, InvalidAck, readAck } from '../../client/ack.ts'
import { field, UploadProtocol } from '../../protocol/headers.ts'
import type { Examination } from './examination.ts'
import { fault, ok, warning } from './finding.ts'
import { isTaken, NoAnswer, orNone } from './line.ts'
import { refusal, shown } from './refusal.ts'
import { shape } from './shape.ts'
import type { Visit } from './visit.ts'

/** Create-Session for a name that nobody has, and the host that the server names for the rest. */
export const createSession: Examination = {
  name: 'Create-Session',
  async *examine(visit) {
    const answer = await visit.say({ type: 'Create-Session' })
    if (!isTaken(answer)) {
      const { reason, remedy } = refusal(answer)
      yield fault(`Create-Session is answered ${shown(answer)}: ${reason}`, remedy)
      return false
    }
    yield* visit.news(shape(answer))
    let host: AssignedHost | undefined
    try {
      // What is wrong with the form was told.
      const ack = readAck('Create-Session', { ...answer, bodyLength: 0 }, undefined)
      visit.sessionId = ack.sessionId ?? ''
      visit.opened(visit.sessionId)
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
    return host === undefined ? true : yield* assignedHost(visit, host)
  },
}

async function* assignedHost(visit: Visit, { host, fallbackTimeout }: AssignedHost) {
  const there = new URL(visit.target)
  there.hostname = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  const answer = await orNone(visit.line.say({ type: 'Ping' }, there))
  if (!(answer instanceof NoAnswer) && isTaken(answer)) {
    visit.target = there
    visit.opened(visit.sessionId)
    yield ok(`The server names the host ${host} for the rest (BITS-Host-Id), and it answers`)
    return true
  }
  const said = answer instanceof NoAnswer ? `does not answer: ${answer.message}` : `answers ${shown(answer)}`
  const wait = fallbackTimeout === undefined ? 'for ever' : `for ${fallbackTimeout} seconds`
  yield fault(
    `The server names the host ${host} for the rest (BITS-Host-Id), and that ${said}; clients try it ${wait}`,
    'The option hostId (IIS: BITSHostId) has to be a name by which clients reach that one machine, by the same port and path.',
  )
  return false
}

import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { publish } from './complete.ts'
import { type Client, type Core, forget, type Outcome, withSession } from './core.ts'
import type { Kept } from './kept.ts'
import { uploadReport } from './reports.ts'

/**
 * Close-Session ([MC-BUP] 3.2.5.2.7). Before the last fragment it deletes what came: a part of a file cannot be
 * uploaded (win32: Close-Session; the specification's state machine would publish it).
 */
export async function closeSession<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  sessionId: string,
): Promise<Ack> {
  // Of what is not published the bytes may have vanished, and the client is to hear that.
  const trusts = ({ state }: Session): boolean => state === 'published'
  const work = async ({ session }: Kept): Promise<Outcome> => {
    if (session.state === 'accepted' && session.acceptance?.publish) await publish(core, session)
    await forget(core, session)
    core.reports.tell('closed', uploadReport(session))
    if (session.state === 'gone') throw new BitsError('entity-gone')
    return { ack: { status: 200 } }
  }
  return withSession(core, client, sessionId, work, { trusts })
}

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). What was published stays (win32: Cancel-Session). */
export async function cancelSession<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  sessionId: string,
): Promise<Ack> {
  return withSession(core, client, sessionId, async ({ session }) => {
    await forget(core, session)
    core.reports.tell('cancelled', uploadReport(session))
    return { ack: { status: 200 } }
  })
}

import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import { publish } from './complete.ts'
import { type Client, type Core, forget, withSession } from './core.ts'
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
  return withSession(core, client, sessionId, async (kept) => {
    const { store } = core.settings
    // Of what is not settled the bytes may have vanished, and the client is to hear that.
    const session = kept.state === 'published' ? kept : ((await store.load(sessionId)) ?? kept)
    if (session.state === 'accepted' && session.acceptance?.publish) await publish(core, session)
    await forget(core, session)
    core.reports.tell('closed', uploadReport(session))
    if (session.state === 'gone') throw new BitsError('entity-gone')
    return { ack: { status: 200 } }
  })
}

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). What was published stays (win32: Cancel-Session). */
export async function cancelSession<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  sessionId: string,
): Promise<Ack> {
  return withSession(core, client, sessionId, async (session) => {
    await forget(core, session)
    core.reports.tell('cancelled', uploadReport(session))
    return { ack: { status: 200 } }
  })
}

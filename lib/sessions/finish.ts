import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { publish } from './complete.ts'
import { type Client, type Core, forget, letGo, take } from './core.ts'

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
  const kept = await take(core, client, sessionId, { trusts: isPublished })
  try {
    const { session } = kept
    if (session.state === 'accepted' && session.acceptance?.publish) await publish(core, session)
    await forget(core, session)
    core.reports.tellOf('closed', session)
    if (session.state === 'gone') throw new BitsError('entity-gone')
    return { status: 200 }
  } finally {
    await letGo(kept)
  }
}

const isPublished = ({ state }: Session): boolean => state === 'published'

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). What was published stays (win32: Cancel-Session). */
export async function cancelSession<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  sessionId: string,
): Promise<Ack> {
  const kept = await take(core, client, sessionId)
  try {
    await forget(core, kept.session)
    core.reports.tellOf('cancelled', kept.session)
    return { status: 200 }
  } finally {
    await letGo(kept)
  }
}

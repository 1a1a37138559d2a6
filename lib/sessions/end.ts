import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { publishSession } from './complete.ts'
import {
  acquireSession,
  deleteSession,
  type PacketContext,
  releaseSession,
  type SessionDependencies,
} from './context.ts'

/**
 * Close-Session ([MC-BUP] 3.2.5.2.7). Before the last fragment it deletes what came: a part of a file cannot be
 * uploaded (win32: Close-Session; the specification's state machine would publish it).
 */
export async function handleCloseSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  // Of what is not published the bytes may have vanished, and the client is to hear that.
  const kept = await acquireSession(deps, context, sessionId, { acceptCached: isPublished })
  try {
    const { session } = kept
    if (session.state === 'accepted' && session.decision?.publish) await publishSession(deps, session)
    await deleteSession(deps, session)
    deps.events.emitUpload('closed', session)
    if (session.state === 'lost') throw new BitsError('entity-gone')
    return { status: 200 }
  } finally {
    await releaseSession(kept)
  }
}

const isPublished = ({ state }: Session): boolean => state === 'published'

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). What was published stays (win32: Cancel-Session). */
export async function handleCancelSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const kept = await acquireSession(deps, context, sessionId)
  try {
    await deleteSession(deps, kept.session)
    deps.events.emitUpload('cancelled', kept.session)
    return { status: 200 }
  } finally {
    await releaseSession(kept)
  }
}

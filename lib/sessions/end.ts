import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { publishSession } from './complete.ts'
import { deleteSession, type PacketContext, type SessionDependencies } from './context.ts'

/**
 * Close-Session ([MC-BUP] 3.2.5.2.7). Before the last fragment it removes the bytes held, because BITS cannot upload a
 * part of a file (win32: Close-Session; the state machine of the specification would publish it).
 */
export async function handleCloseSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const { cache, events } = deps
  // The bytes of an unpublished file may have been lost, and the client must learn that.
  const cached = await cache.acquire(sessionId, context, { acceptCached: isPublished })
  try {
    const { session } = cached
    if (session.state === 'accepted' && session.decision?.publish) await publishSession(deps, session)
    await deleteSession(deps, session)
    events.emitUpload('closed', session)
    if (session.state === 'lost') throw new BitsError('entity-gone')
    return { status: 200 }
  } finally {
    await cache.release(cached)
  }
}

const isPublished = ({ state }: Session): boolean => state === 'published'

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). A published file stays (win32: Cancel-Session). */
export async function handleCancelSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const { cache, events } = deps
  const cached = await cache.acquire(sessionId, context)
  try {
    await deleteSession(deps, cached.session)
    events.emitUpload('cancelled', cached.session)
    return { status: 200 }
  } finally {
    await cache.release(cached)
  }
}

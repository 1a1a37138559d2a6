import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { completeUpload, publishSession } from './complete.ts'
import { deleteSession, emptyBody, type PacketContext, type SessionDependencies } from './context.ts'
import type { LockedSession } from './session-cache.ts'

/**
 * Close-Session ([MC-BUP] 3.2.5.2.7). Before the last fragment it removes the bytes held, because BITS cannot upload a
 * part of a file (win32: Close-Session; the state machine of the specification would publish it). Without any fragment it
 * completes an empty file, because several clients send no fragment for one.
 */
export async function handleCloseSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const { cache, events } = deps
  // The bytes of an unpublished file may have been lost, and the client must learn that.
  const locked = await cache.acquire(sessionId, context, { acceptCached: isPublished })
  try {
    const session = isEmptyFile(locked.session)
      ? await completeEmptyFile(deps, context, locked)
      : locked.session
    if (session.state === 'accepted' && session.decision?.publish) await publishSession(deps, session)
    await deleteSession(deps, session)
    events.emitUpload('closed', session)
    if (session.state === 'lost') throw new BitsError('entity-gone')
    return { status: 200 }
  } finally {
    await cache.release(locked)
  }
}

const isPublished = ({ state }: Session): boolean => state === 'published'

/** Also if the data file is missing, because a crash may have prevented its creation. */
const isEmptyFile = ({ state, received, total }: Session): boolean =>
  received === 0 && ((state === 'receiving' && !total) || (state === 'lost' && total === 0))

async function completeEmptyFile<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  locked: LockedSession,
): Promise<Session> {
  locked.session = await deps.settings.store.append(locked.session, emptyBody(), { total: 0, durable: true })
  deps.quota.markNonEmpty(locked.session)
  deps.events.emitUpload('received', locked.session)
  return completeUpload(deps, context, locked.session)
}

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). A published file stays (win32: Cancel-Session). */
export async function handleCancelSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const { cache, events } = deps
  const locked = await cache.acquire(sessionId, context)
  try {
    await deleteSession(deps, locked.session)
    events.emitUpload('cancelled', locked.session)
    return { status: 200 }
  } finally {
    await cache.release(locked)
  }
}

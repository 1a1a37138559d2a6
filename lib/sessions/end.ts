import type { Ack } from '../protocol/ack.ts'
import { BitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import { completeUpload, emitAppended, publishesAtOnce, publishSession } from './complete.ts'
import {
  deleteSession,
  emptyBody,
  type PacketContext,
  retryConflicts,
  type SessionDependencies,
} from './context.ts'
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
    let wasAccepted = false
    const session = await retryConflicts(deps, locked, async () => {
      const current = isEmptyFile(locked.session)
        ? await completeEmptyFile(deps, context, locked)
        : locked.session
      if (current.state === 'accepted' && current.decision?.publish) {
        wasAccepted = true
        await publishSession(deps, current)
      }
      await deleteSession(deps, current)
      return current
    })
    events.emitUpload('closed', session)
    // The bytes of an accepted upload were lost: the store found this when it published them.
    const isIncomplete = wasAccepted && session.state === 'receiving'
    if (session.state === 'lost' || isIncomplete) throw new BitsError('entity-gone')
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
  const { quota, settings } = deps
  const options = { total: 0, durable: true, publish: publishesAtOnce(settings) }
  locked.session = await settings.store.append(locked.session, emptyBody(), options)
  quota.markNonEmpty(locked.session)
  emitAppended(deps, locked.session)
  return completeUpload(deps, context, locked.session)
}

/** Cancel-Session ([MC-BUP] 3.2.5.2.8). A published file stays (win32: Cancel-Session). */
export async function handleCancelSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  sessionId: string,
): Promise<Ack> {
  const { cache, events, settings } = deps
  // Another process may have changed a session of a shared store.
  const acceptCached = (cached: Session): boolean => !settings.store.isShared || isPublished(cached)
  const locked = await cache.acquire(sessionId, context, { acceptCached })
  try {
    await retryConflicts(deps, locked, () => deleteSession(deps, locked.session))
    events.emitUpload('cancelled', locked.session)
    return { status: 200 }
  } finally {
    await cache.release(locked)
  }
}

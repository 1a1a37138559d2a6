import type { Ack } from '../protocol/ack.ts'
import { type ContentRange, lengthOf } from '../protocol/content-range.ts'
import { asBitsError, BitsError, isFault } from '../protocol/errors.ts'
import type { FragmentPacket } from '../protocol/packet.ts'
import { type Body, byteLength, dropBytes, type Session } from '../stores/store.ts'
import { completeUpload, emitAppended, publishesAtOnce } from './complete.ts'
import {
  emptyBody,
  type FragmentSource,
  isOutOfSync,
  MaxAttempts,
  type PacketContext,
  type SessionDependencies,
} from './context.ts'
import { uploadReport } from './events.ts'
import type { SessionSettings } from './hooks.ts'
import { isEmptySession } from './quota.ts'
import { replyUrl } from './reply.ts'
import type { LockedSession } from './session-cache.ts'

/**
 * Fragment ([MC-BUP] 3.2.5.2.6). If the session is known, every Ack, also that of an error, says how many bytes are held.
 */
export async function handleFragment<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  { sessionId, range }: FragmentPacket,
): Promise<Ack> {
  const { cache, quota, settings } = deps
  const body = context.body()
  const locked = await cache.acquire(sessionId, context, {
    interruptible: body,
    acceptCached: (cached) => !settings.store.isShared || !refusalOf(settings, cached, range),
  })
  let sessionToCache: Session | undefined
  // One function, because each async function that waits for the client takes half a kilobyte, for thousands of clients.
  try {
    const refusal = refusalOf(settings, locked.session, range)
    if (refusal) throw refusal
    let session: Session
    const isFirst = locked.session.total === undefined
    try {
      const wasDecided = isDecided(locked.session)
      session = await appendFragment(deps, locked.session, range, body)
      locked.session = session
      if (!wasDecided) emitAppended(deps, session)
    } catch (error) {
      session = await continueAfterConflict(deps, locked, range, body, error)
    }
    if (isFirst) quota.markNonEmpty(session)
    const { received } = session
    if (received !== range.total) {
      sessionToCache = session
      return { status: 200, received }
    }
    const decided = await completeOnce(deps, context, locked, session)
    // An accepted upload still needs its bytes, so the store checks them at the next packet.
    if (decided.state === 'published') sessionToCache = decided
    return {
      status: 200,
      received,
      replyUrl: replyUrl(decided.decision, session, context.url, settings.hostId),
    }
  } catch (error) {
    // A store that failed may not have ended the iteration: the rest of the body must be drained.
    body.interrupt(asBitsError(error))
    throw await withCurrentOffset(deps, locked.session, range, error)
  } finally {
    const released = cache.release(locked, sessionToCache)
    if (released) await released
  }
}

/** Why a fragment cannot be appended to a session; undefined if it can, or if it was received already. */
function refusalOf<Caller>(
  { maxFragmentSize }: SessionSettings<Caller>,
  session: Session,
  range: ContentRange,
): BitsError | undefined {
  const { received } = session
  const { first, total } = range
  if ((session.total ?? total) !== total || received > total) {
    const message = `The file's size was ${session.total ?? received}, now it is ${total}`
    return new BitsError('invalid-packet', message)
  }
  if (total > session.maxSize) return new BitsError('too-large')
  if (lengthOf(range) > maxFragmentSize) return new BitsError('fragment-too-large')
  return first > received && !isDecided(session) ? new BitsError('out-of-sync') : undefined
}

/** Appends the new bytes of a fragment. */
function appendFragment<Caller>(
  { settings }: SessionDependencies<Caller>,
  session: Session,
  { first, last, total }: ContentRange,
  body: FragmentSource,
): Promise<Session> {
  // The last fragment again, because its Ack was lost: it gets the same Ack.
  if (isDecided(session)) return drain(body).then(() => session)
  const { received } = session
  // Held bytes are kept; only the bytes behind them are written (win32: Fragment).
  const heldBytes = received - first
  const newBytes = heldBytes === 0 ? body : skipBytes(body, heldBytes)
  const isLast = Math.max(last + 1, received) === total
  const publish = isLast && publishesAtOnce(settings)
  return settings.store.append(session, newBytes, { total, durable: isLast, publish })
}

/**
 * Handles a fragment that was not appended because another process has changed the session, or was interrupted by another
 * packet before the end of its body. If all its bytes are held nevertheless, it counts as received. If these are all bytes of
 * the file, the upload is completed: the client would take a 416 with the size of the file for success, although the file is
 * not published.
 * @throws the error of the fragment if bytes of it are missing
 */
async function continueAfterConflict<Caller>(
  deps: SessionDependencies<Caller>,
  locked: LockedSession,
  range: ContentRange,
  body: FragmentSource,
  thrown: unknown,
): Promise<Session> {
  const { cache, events, settings } = deps
  const { last, total } = range
  let error = thrown
  for (let attempt = 1; attempt <= MaxAttempts; attempt += 1) {
    const session = isOutOfSync(error) && (await cache.reload(locked))
    if (!session) throw error
    const refusal = refusalOf(settings, session, range)
    if (refusal || session.received <= last) throw refusal ?? error
    await drainUnlessInterrupted(body)
    if (isDecided(session) || session.received !== total) return session
    try {
      const publish = publishesAtOnce(settings)
      const completed = await settings.store.append(session, emptyBody(), { total, durable: true, publish })
      locked.session = completed
      if (completed.state === 'published') events.emitUpload('uploaded', completed)
      return completed
    } catch (cause) {
      error = cause
    }
  }
  throw error
}

/**
 * Completes an upload. If another process has changed the session meanwhile, and all bytes are held, completes it as it is now:
 * the other process may have published it.
 */
async function completeOnce<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  locked: LockedSession,
  session: Session,
): ReturnType<typeof completeUpload> {
  try {
    return await completeUpload(deps, context, session)
  } catch (error) {
    const current = isOutOfSync(error) && (await deps.cache.reload(locked))
    if (!current || current.state === 'lost' || current.received !== current.total) throw error
    return completeUpload(deps, context, current)
  }
}

/** Whether nothing can be appended any more. */
const isDecided = ({ state }: Session): boolean =>
  state === 'published' || state === 'accepted' || state === 'rejected'

/** Reads a body to its end before its Ack, because a client may not read an Ack before it has sent the whole body. */
async function drain(body: FragmentSource): Promise<void> {
  for await (const _ of body) {
    // These bytes are held already.
  }
}

/** The same, but another packet of the session may end it. */
async function drainUnlessInterrupted(body: FragmentSource): Promise<void> {
  try {
    await drain(body)
  } catch (error) {
    if (!isOutOfSync(error)) throw error
  }
}

async function* skipBytes(body: Body, count: number): AsyncGenerator<readonly Uint8Array[]> {
  let remaining = count
  for await (const chunks of body) {
    const rest = remaining > 0 ? dropBytes(chunks, remaining) : chunks
    remaining = Math.max(0, remaining - byteLength(chunks))
    if (rest.length > 0) yield rest
  }
}

/** The error with the number of bytes held now, which the store is asked for because some may have been appended. */
async function withCurrentOffset<Caller>(
  deps: SessionDependencies<Caller>,
  session: Session,
  range: ContentRange,
  thrown: unknown,
): Promise<BitsError> {
  const { settings, events, quota } = deps
  const current = await settings.store.load(session.id).catch(() => null)
  // A fragment that failed may have stored the first bytes.
  if (current && !isEmptySession(current)) quota.markNonEmpty(current)
  // Undefined: the session was removed, but not by this server. Null: the store does not know.
  const error = current === undefined ? new BitsError('session-not-found') : asBitsError(thrown)
  // If another server has completed the file (see `continueAfterConflict`), or the store does not know how many bytes
  // are held, which a 416 must say, the client gets a 500 and tries again.
  const isMisleading = error.code === 'out-of-sync' && (!current || current.received === range.total)
  const reason = isMisleading ? new BitsError('store-failed', error.message, { cause: error }) : error
  const answered = reason.with({ received: current?.received })
  if (current && isEmptySession(current) && wasStarted(range, error)) {
    await recordTotal(deps, current, range.total)
  }
  if (current && isInterruption(answered)) {
    events.emitEvent('interrupted', { ...uploadReport(current), reason: answered })
  }
  return answered
}

/** Whether the first fragment of a file began, and ended before its first byte; not if its range was refused, or the store failed. */
const wasStarted = ({ first, total }: ContentRange, error: BitsError): boolean =>
  first === 0 &&
  total > 0 &&
  !isFault(error) &&
  error.code !== 'too-large' &&
  error.code !== 'fragment-too-large'

/** Records the size of a file that holds no byte. Otherwise Close-Session would take it for an empty file. */
async function recordTotal<Caller>(
  { settings: { store }, quota }: SessionDependencies<Caller>,
  session: Session,
  total: number,
): Promise<void> {
  try {
    // Not within the call of `release`: without this method its argument would not be evaluated.
    const appended = await store.append(session, emptyBody(), { total, durable: false })
    store.release?.(appended)
    quota.markNonEmpty(session)
  } catch {
    // The client gets the error of its fragment.
  }
}

const isInterruption = ({ code }: BitsError): boolean => code === 'disconnected' || code === 'timeout'

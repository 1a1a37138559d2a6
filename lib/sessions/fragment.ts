import type { Ack } from '../protocol/ack.ts'
import { type ContentRange, lengthOf } from '../protocol/content-range.ts'
import { asBitsError, BitsError, isFault } from '../protocol/errors.ts'
import type { FragmentPacket } from '../protocol/packet.ts'
import { type Body, byteLength, dropBytes, type Session } from '../stores/store.ts'
import { completeUpload } from './complete.ts'
import { emptyBody, type FragmentSource, type PacketContext, type SessionDependencies } from './context.ts'
import { uploadReport } from './events.ts'
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
  const { cache, events, quota, settings } = deps
  const body = context.body()
  const locked = await cache.acquire(sessionId, context, { interruptible: body })
  let sessionToCache: Session | undefined
  // One function, because each async function that waits for the client takes half a kilobyte, for thousands of clients.
  try {
    let session: Session
    const isFirst = locked.session.total === undefined
    try {
      const wasDecided = isDecided(locked.session)
      session = await appendFragment(deps, locked.session, range, body)
      locked.session = session
      if (!wasDecided) events.emitUpload('received', session)
    } catch (error) {
      session = await completeIfAllBytesHeld(deps, locked, range, error)
    }
    if (isFirst) quota.markNonEmpty(session)
    const { received } = session
    if (received !== range.total) {
      sessionToCache = session
      return { status: 200, received }
    }
    const decided = await completeUpload(deps, context, session)
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

/** Checks the range against the bytes held, and appends the new bytes of the fragment. */
function appendFragment<Caller>(
  { settings }: SessionDependencies<Caller>,
  session: Session,
  range: ContentRange,
  body: FragmentSource,
): Promise<Session> {
  const { received } = session
  const { first, last, total } = range
  if ((session.total ?? total) !== total || received > total) {
    throw new BitsError(
      'invalid-packet',
      `The file's size was ${session.total ?? received}, now it is ${total}`,
    )
  }
  if (total > session.maxSize) throw new BitsError('too-large')
  if (lengthOf(range) > settings.maxFragmentSize) throw new BitsError('fragment-too-large')
  // The last fragment again, because its Ack was lost: it gets the same Ack.
  if (isDecided(session)) return drain(body).then(() => session)
  if (first > received) throw new BitsError('out-of-sync')

  // Held bytes are kept; only the bytes behind them are written (win32: Fragment).
  const heldBytes = received - first
  const newBytes = heldBytes === 0 ? body : skipBytes(body, heldBytes)
  return settings.store.append(session, newBytes, { total, durable: Math.max(last + 1, received) === total })
}

/**
 * Handles a fragment that was interrupted by another packet when all bytes of the file were held, but the end of its body
 * was not read: it counts as received. The client would take a 416 with the size of the file for success, although the
 * file is not published.
 */
async function completeIfAllBytesHeld<Caller>(
  { settings }: SessionDependencies<Caller>,
  locked: LockedSession,
  { total }: ContentRange,
  error: unknown,
): Promise<Session> {
  const { store } = settings
  const current = error instanceof BitsError && error.code === 'out-of-sync' && (await store.load(locked.id))
  if (!current || current.received !== total) throw error
  store.release?.(locked.session)
  locked.session = current
  if (isDecided(current)) return current
  return store.append(current, emptyBody(), { total, durable: true })
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
  // If another server has completed the file (see `completeIfAllBytesHeld`), or the store does not know how many bytes
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
    store.release?.(await store.append(session, emptyBody(), { total, durable: false }))
    quota.markNonEmpty(session)
  } catch {
    // The client gets the error of its fragment.
  }
}

const isInterruption = ({ code }: BitsError): boolean => code === 'disconnected' || code === 'timeout'

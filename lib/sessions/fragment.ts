import type { Ack } from '../protocol/ack.ts'
import { type ContentRange, lengthOf } from '../protocol/content-range.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { FragmentPacket } from '../protocol/packet.ts'
import { byteLength, dropBytes } from '../stores/chunks.ts'
import type { Body, Session } from '../stores/store.ts'
import { completeUpload, publishesAtOnce } from './complete.ts'
import {
  acquireSession,
  type Interruptible,
  type PacketContext,
  releaseSession,
  type SessionDependencies,
} from './context.ts'
import { uploadReport } from './events.ts'
import { replyUrl } from './reply.ts'
import type { Kept } from './session-cache.ts'

/** The fragment's bytes on their way in. */
export interface IncomingBody extends Interruptible {
  /** Begins to read. Bytes that arrived before `interrupt`, or before the connection broke, are still given. */
  read(): Body
}

/** Fragment ([MC-BUP] 3.2.5.2.6). Where the session is known the Ack says how many bytes are held, whatever comes. */
export async function receiveFragment<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  { sessionId, range }: FragmentPacket,
  body: IncomingBody,
): Promise<Ack> {
  const kept = await acquireSession(deps, context, sessionId, { interruptible: body })
  let left: Session | undefined
  // Not in functions of their own: each that waits for the client's bytes takes half a kilobyte, for thousands of clients.
  try {
    let after: Session
    try {
      after = await receive(deps, kept.session, range, body)
      if (!isDecided(kept.session)) deps.events.emitUpload('received', after)
    } catch (error) {
      after = await completeIfAllBytesHeld(deps, kept, range, error)
    }
    const { received } = after
    if (received !== range.total) {
      left = after
      return { status: 200, received }
    }
    const decided = await completeUpload(deps, context, after)
    const url = replyUrl(decided.decision, after, context.url, deps.settings.hostId)
    // While an upload is only accepted its bytes are still needed: the store is asked whether they are there.
    if (decided.state === 'published') left = decided
    return { status: 200, received, replyUrl: url }
  } catch (error) {
    throw await withCurrentOffset(deps, kept.session, range, error)
  } finally {
    const over = releaseSession(kept, left)
    if (over) await over
  }
}

/** Judges the range by what is held, and keeps what is new of the fragment. */
function receive<Caller>(
  { settings }: SessionDependencies<Caller>,
  session: Session,
  range: ContentRange,
  body: IncomingBody,
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
  // The last fragment again, because its Ack was lost: the same final answer.
  if (isDecided(session)) return drain(body).then(() => session)
  if (first > received) throw new BitsError('out-of-sync')

  // Held bytes are kept, only what lies behind them is written (win32: Fragment).
  const newBytes = skipHeldBytes(body, received - first)
  const durable = Math.max(last + 1, received) === total
  return settings.store.append(session, newBytes, {
    total,
    durable,
    publishes: durable && publishesAtOnce(settings),
  })
}

/**
 * A fragment that had to let go when all bytes of the file were there, but not yet the end of its body, has done what it
 * was to do: a 416 that names the file's end would be taken for success, of a file that nobody published.
 */
async function completeIfAllBytesHeld<Caller>(
  { settings }: SessionDependencies<Caller>,
  kept: Kept,
  { total }: ContentRange,
  error: unknown,
): Promise<Session> {
  const current =
    error instanceof BitsError && error.code === 'out-of-sync' && (await settings.store.load(kept.session.id))
  if (!current || current.received !== total) throw error
  kept.renew(current)
  if (isDecided(current)) return current
  return settings.store.append(current, emptyBody(), { total, durable: true })
}

/** Nothing is written to it any more: its bytes may be elsewhere, or gone. */
const isDecided = ({ state }: Session): boolean =>
  state === 'published' || state === 'accepted' || state === 'rejected'

async function* emptyBody(): AsyncGenerator<never> {}

/** Before its Ack a body is read to its end, wanted or not: a client may not read the one before it has sent the other. */
async function drain(body: IncomingBody): Promise<void> {
  for await (const _ of body.read()) {
    // Held already.
  }
}

function skipHeldBytes(body: IncomingBody, count: number): Body {
  return count === 0 ? body.read() : skipBytes(body.read(), count)
}

async function* skipBytes(body: Body, count: number): AsyncGenerator<readonly Uint8Array[]> {
  let left = count
  for await (const chunks of body) {
    const rest = left > 0 ? dropBytes(chunks, left) : chunks
    left = Math.max(0, left - byteLength(chunks))
    if (rest.length > 0) yield rest
  }
}

/** An error that tells the client how many bytes are held now: asked of the store again, for some may have come. */
async function withCurrentOffset<Caller>(
  { settings, events }: SessionDependencies<Caller>,
  session: Session,
  { total }: ContentRange,
  error: unknown,
): Promise<BitsError> {
  const current = await settings.store.load(session.id).catch(() => null)
  // The session itself was cleared away behind our back.
  const failure = current === undefined ? new BitsError('session-not-found') : asBitsError(error)
  // Another server had them all meanwhile: see `finished`. The client comes again for what became of the file. So it
  // does where nobody knows: a 416 has to say how many bytes are held.
  const isEnd = failure.code === 'out-of-sync' && (!current || current.received === total)
  const honest = isEnd ? new BitsError('store-failed', failure.message, { cause: failure }) : failure
  const refusal = honest.with({ received: current?.received })
  if (current && isInterruption(refusal))
    events.emitEvent('interrupted', { ...uploadReport(current), reason: refusal })
  return refusal
}

const isInterruption = ({ code }: BitsError): boolean => code === 'disconnected' || code === 'timeout'

import { asApplicationError, BitsError } from '../protocol/errors.ts'
import type { Decision, Session } from '../stores/store.ts'
import type { PacketContext, SessionDependencies } from './context.ts'
import type { SessionSettings } from './hooks.ts'
import { type ParsedDecision, parseDecision, saveReply } from './reply.ts'

/** An upload that `onUpload` accepted. */
type DecidedSession = Session & { readonly decision: Decision }

/** The decision if `onUpload` is missing, or returns nothing. */
const DefaultDecision: Decision = { publish: true }

/**
 * Completes an upload whose last byte is durable: calls `onUpload`, saves its reply, publishes the file; only then may the
 * Ack be sent. It runs again when the client repeats its last fragment because it got no Ack; steps that are done are
 * skipped. With a store that is shared, one process at a time does this if there is a hook: the others wait, and then find
 * its decision.
 * @returns the session as it is now
 * @throws {BitsError} also the error of the application if it rejected the upload permanently, now or earlier;
 * `out-of-sync` if bytes were lost
 */
export async function completeUpload<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  session: Session,
): Promise<DecidedSession> {
  const { lockTimeout, onUpload, store } = deps.settings
  if (!onUpload || !store.acquireDecision || session.state !== 'receiving') {
    return decideAndPublish(deps, context, session)
  }
  // A client that disconnects ends the wait for the lease, not the lease: its hook continues.
  const lease = await store.acquireDecision(session, { timeout: lockTimeout, signal: context.signal })
  try {
    const { state, received, total } = lease.session
    if (state === 'lost' || (state === 'receiving' && received !== total)) throw new BitsError('out-of-sync')
    return await decideAndPublish(deps, context, lease.session)
  } finally {
    await lease.release()
  }
}

async function decideAndPublish<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  session: Session,
): Promise<DecidedSession> {
  if (session.state === 'rejected') throw rejectionError(session.rejection)
  const { decision = DefaultDecision } = session
  if (session.state === 'published') return withDecision(session, { decision, state: 'published' })
  const accepted =
    session.decision ??
    (publishesAtOnce(deps.settings)
      ? DefaultDecision
      : await persistDecision(deps, session, await callOnUpload(deps, context, session)))
  const shouldPublish = accepted.publish && deps.settings.commitOn === 'last-fragment'
  if (shouldPublish) await publishSession(deps, session)
  return withDecision(session, { decision: accepted, state: shouldPublish ? 'published' : 'accepted' })
}

/** Uses `Object.assign`, because V8 takes ten times as long to spread an object of a class, which a session may be. */
const withDecision = (
  session: Session,
  decision: Pick<DecidedSession, 'decision' | 'state'>,
): DecidedSession => Object.assign({}, session, decision)

/** Whether the file is published right after its last byte, without a decision that must be saved before. */
export const publishesAtOnce = <Caller>({ onUpload, commitOn }: SessionSettings<Caller>): boolean =>
  !onUpload && commitOn === 'last-fragment'

export async function publishSession<Caller>(
  { settings, events }: SessionDependencies<Caller>,
  session: Session,
): Promise<void> {
  await settings.store.publish(session)
  events.emitUpload('uploaded', session)
}

/** Emits the events of an `append`, which may have published the upload. */
export function emitAppended<Caller>({ events }: SessionDependencies<Caller>, session: Session): void {
  events.emitUpload('received', session)
  if (session.state === 'published') events.emitUpload('uploaded', session)
}

async function callOnUpload<Caller>(
  { settings }: SessionDependencies<Caller>,
  { caller, owner }: PacketContext<Caller>,
  session: Session,
): Promise<ParsedDecision> {
  const { onUpload, store } = settings
  if (!onUpload) return { publish: true, reply: undefined }
  const { id, name, path, url, received, metadata } = session
  const read = () => store.read(session)
  const upload = { id, name, path, url, owner, size: received, metadata, read, paths: store.paths?.(session) }
  try {
    return parseDecision(await onUpload(upload, caller))
  } catch (error) {
    const failure = asApplicationError(error)
    // The only status after which the server of Windows does not ask the application again (win32: handling errors).
    if (failure.status === 403) await store.reject(session, failure.message)
    throw failure
  }
}

const rejectionError = (reason: string | undefined): BitsError => new BitsError('application-refused', reason)

async function persistDecision<Caller>(
  { settings }: SessionDependencies<Caller>,
  session: Session,
  { publish, reply }: ParsedDecision,
): Promise<Decision> {
  const { store, commitOn } = settings
  const savedReply = reply === undefined ? undefined : await saveReply(store, session, reply)
  const decision: Decision = { publish, ...(savedReply && { reply: savedReply }) }
  // Not needed if the file is published next, because that is saved, and implies the decision.
  if (commitOn === 'close' || savedReply || !publish) await store.accept(session, decision)
  return decision
}

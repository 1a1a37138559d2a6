import { asApplicationError, BitsError } from '../protocol/errors.ts'
import type { Decision, Session } from '../stores/store.ts'
import type { PacketContext, SessionDependencies } from './context.ts'
import type { SessionSettings } from './hooks.ts'
import { type ParsedDecision, parseDecision, saveReply } from './reply.ts'

/** An upload that was taken. */
type DecidedSession = Session & { readonly decision: Decision }

/** Of an application that says nothing. */
const DefaultDecision: Decision = { publish: true }

/**
 * What happens when the last byte is durable, and again whenever the client sends its last fragment once more because
 * it saw no success: the application is asked, its reply is kept, then the file is published, and only then may the Ack
 * go out. Each step is skipped if it was done.
 * @returns the session as it is now
 * @throws {BitsError} among others what the application said if it refused the upload for good, now or before
 */
export async function completeUpload<Caller>(
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
  const isPublished = accepted.publish && deps.settings.commitOn === 'last-fragment'
  if (isPublished) await publishSession(deps, session)
  return withDecision(session, { decision: accepted, state: isPublished ? 'published' : 'accepted' })
}

/** Not spread: V8 takes ten times as long to spread an object of a class, as sessions may be. */
const withDecision = (
  session: Session,
  decision: Pick<DecidedSession, 'decision' | 'state'>,
): DecidedSession => Object.assign({}, session, decision)

/** Whether nothing is to be remembered between the last byte and the publication: nobody is asked, and nobody waits. */
export const publishesAtOnce = <Caller>({ onUpload, commitOn }: SessionSettings<Caller>): boolean =>
  !onUpload && commitOn === 'last-fragment'

export async function publishSession<Caller>(
  { settings, events }: SessionDependencies<Caller>,
  session: Session,
): Promise<void> {
  await settings.store.publish(session)
  events.emitUpload('uploaded', session)
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
    // The only status after which Windows' server does not ask the application again (win32: handling errors).
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
  const kept = reply === undefined ? undefined : await saveReply(store, session, reply)
  const decision: Decision = { publish, ...(kept && { reply: kept }) }
  // Else publishing is what is remembered.
  if (commitOn === 'close' || kept || !publish) await store.accept(session, decision)
  return decision
}

import { asApplicationError, BitsError } from '../protocol/errors.ts'
import type { Acceptance, Session } from '../stores/store.ts'
import type { Client, Core } from './core.ts'
import { keepReply, type ReadDecision, readDecision } from './reply.ts'
import type { SessionSettings } from './settings.ts'

/** An upload that was taken. */
type Decided = Session & { readonly acceptance: Acceptance }

/** Of an application that says nothing. */
const plain: Acceptance = { publish: true }

/**
 * What happens when the last byte is durable, and again whenever the client sends its last fragment once more because
 * it saw no success: the application is asked, its reply is kept, then the file is published, and only then may the Ack
 * go out. Each step is skipped if it was done.
 * @returns the session as it is now
 * @throws {BitsError} among others what the application said if it refused the upload for good, now or before
 */
export async function completeUpload<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  session: Session,
): Promise<Decided> {
  if (session.state === 'refused') throw refusal(session.refusal)
  const { acceptance = plain } = session
  if (session.state === 'published') return decided(session, { acceptance, state: 'published' })
  const accepted =
    session.acceptance ??
    (publishesAtOnce(core.settings)
      ? plain
      : await accept(core, session, await askApplication(core, client, session)))
  const isPublished = accepted.publish && core.settings.commitOn === 'last-fragment'
  if (isPublished) await publish(core, session)
  return decided(session, { acceptance: accepted, state: isPublished ? 'published' : 'accepted' })
}

/** Not spread: V8 takes ten times as long to spread an object of a class, as sessions may be. */
const decided = (session: Session, decision: Pick<Decided, 'acceptance' | 'state'>): Decided =>
  Object.assign({}, session, decision)

/** Whether nothing is to be remembered between the last byte and the publication: nobody is asked, and nobody waits. */
export const publishesAtOnce = <Caller>({ onUpload, commitOn }: SessionSettings<Caller>): boolean =>
  !onUpload && commitOn === 'last-fragment'

export async function publish<Caller>({ settings, reports }: Core<Caller>, session: Session): Promise<void> {
  await settings.store.publish(session)
  reports.tellOf('uploaded', session)
}

async function askApplication<Caller>(
  { settings }: Core<Caller>,
  { caller, owner }: Client<Caller>,
  session: Session,
): Promise<ReadDecision> {
  const { onUpload, store } = settings
  if (!onUpload) return { publish: true, reply: undefined }
  const { id, name, path, url, received, metadata } = session
  const read = () => store.read(session)
  const upload = { id, name, path, url, owner, size: received, metadata, read, paths: store.paths?.(session) }
  try {
    return readDecision(await onUpload(upload, caller))
  } catch (error) {
    const failure = asApplicationError(error)
    // The only status after which Windows' server does not ask the application again (win32: handling errors).
    if (failure.status === 403) await store.refuse(session, failure.message)
    throw failure
  }
}

const refusal = (reason: string | undefined): BitsError => new BitsError('application-refused', reason)

async function accept<Caller>(
  { settings }: Core<Caller>,
  session: Session,
  { publish, reply }: ReadDecision,
): Promise<Acceptance> {
  const { store, commitOn } = settings
  const kept = reply === undefined ? undefined : await keepReply(store, session, reply)
  const acceptance: Acceptance = { publish, ...(kept && { reply: kept }) }
  // Else publishing is what is remembered.
  if (commitOn === 'close' || kept || !publish) await store.accept(session, acceptance)
  return acceptance
}

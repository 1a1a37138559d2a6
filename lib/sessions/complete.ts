import { asBitsError } from '../protocol/errors.ts'
import type { Session } from '../stores/store.ts'
import type { Client, Core } from './core.ts'
import { uploadReport } from './reports.ts'

/**
 * What happens when the last byte is durable, and again whenever the client sends its last fragment once more because
 * it saw no success: the application is asked, then the file is published, and only then may the Ack go out.
 * Each step is skipped if it was done.
 */
export async function completeUpload<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  session: Session,
): Promise<void> {
  if (session.state === 'published') return
  const { store, commitOn } = core.settings
  if (session.state !== 'accepted') {
    await askApplication(core, client, session)
    // Else publishing is what is remembered.
    if (commitOn === 'close') await store.accept(session)
  }
  if (commitOn === 'last-fragment') await publish(core, session)
}

export async function publish<Caller>({ settings, reports }: Core<Caller>, session: Session): Promise<void> {
  await settings.store.publish(session)
  reports.tell('uploaded', uploadReport(session))
}

async function askApplication<Caller>(
  { settings }: Core<Caller>,
  { caller, owner }: Client<Caller>,
  session: Session,
): Promise<void> {
  const { id, name, path, received, metadata } = session
  const read = () => settings.store.read(session)
  try {
    await settings.onUpload?.({ id, name, path, owner, size: received, metadata, read }, caller)
  } catch (error) {
    // 0x7: the client's administrator is to look at the application, not at the file.
    throw asBitsError(error, 'application-failed').with({ context: 0x7 })
  }
}

import { UploadError } from './errors.ts'
import type { Session } from './session.ts'
import { Setback } from './setback.ts'

/**
 * Says Close-Session, and remembers that it may have been carried out, so that the next one knows: a session that ends is
 * forgotten, and to begin anew would send the whole file again.
 * @param note saves the session; before the packet leaves, for the process may end with it
 */
export async function closeSession(
  session: Session,
  say: () => Promise<unknown>,
  note: () => Promise<void>,
): Promise<void> {
  const sentBefore = session.closeSent === true
  session.closeSent = true
  await note()
  try {
    await say()
  } catch (error) {
    // The first one was carried out, and its Ack lost.
    if (sentBefore && error instanceof Setback && error.kind === 'forgotten') return
    session.closeSent = sentBefore || mayBeDone(error)
    await note()
    throw error
  }
}

/** Whether a packet may have been carried out that ended so: not if the server refused it, or it never left. */
const mayBeDone = (error: unknown): boolean =>
  error instanceof Setback ? !error.details.refused && !error.details.unsent : !(error instanceof UploadError)

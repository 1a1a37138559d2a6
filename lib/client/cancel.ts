import { Patience } from './backoff.ts'
import { type Clock, systemClock } from './clock.ts'
import { Conversation } from './conversation.ts'
import { fallBack, noteFailure, urlOf } from './destination.ts'
import { UploadError } from './errors.ts'
import { Job } from './job.ts'
import { type CancelOptions, type CommonSettings, readCancelOptions } from './options.ts'
import type { Session } from './session.ts'
import { Setback } from './setback.ts'
import { Wire } from './wire.ts'

/**
 * Ends an upload that was paused, or gave up: the server forgets its session, and the job file is removed. A file that
 * was whole already stays. Breaks are waited out for a day, see `noProgressTimeout`.
 *
 * @param job the job file
 * @throws {TypeError} for options, with what to write instead
 * @throws {UploadError} with `code`, when the server refuses, or there is no job file; it is then kept
 */
export async function cancelUpload(job: string, options: CancelOptions = {}): Promise<void> {
  if (typeof job !== 'string' || job === '') throw new TypeError('cancelUpload: pass the path of a job file')
  const settings = readCancelOptions(options)
  settings.signal?.throwIfAborted()
  const opened = await Job.open(job)
  try {
    const { url, session } = opened
    if (url === undefined || !session) throw new UploadError('job-invalid', `${opened.path} is not there.`)
    await cancelSession(new URL(url), session, settings, systemClock)
    await opened.remove()
  } finally {
    await opened.release()
  }
}

/** Sends Cancel-Session until it is answered for good (win32: Ack for Cancel-Session). */
export async function cancelSession(
  destination: URL,
  session: Session,
  settings: CommonSettings,
  clock: Clock,
): Promise<void> {
  const { auth, headers, signal } = settings
  const wire = new Wire(settings, signal)
  const extras = { name: undefined, headers }
  const conversation = new Conversation(wire, { destination, extras, auth })
  const patience = new Patience(settings, clock)
  try {
    for (;;) {
      fallBack(session, clock.now())
      try {
        await conversation.say({ type: 'Cancel-Session', sessionId: session.id }, urlOf(destination, session))
        return
      } catch (error) {
        signal?.throwIfAborted()
        if (!(error instanceof Setback)) throw error
        // There is nothing left to cancel ([MC-BUP] 3.1.5.2.1).
        if (error.kind === 'forgotten') return
        noteFailure(session, clock.now())
        const delay = patience.failed(error.details.stale)
        if (delay === undefined) throw error.asError('no-progress')
        await clock.wait(delay, signal)
      }
    }
  } finally {
    wire.close()
  }
}

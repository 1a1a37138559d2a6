import { type Clock, systemClock } from './clock.ts'
import { UploadError } from './errors.ts'
import { Job } from './job.ts'
import { type CancelOptions, type CommonSettings, readCancelOptions } from './options.ts'
import { PacketClient } from './packet-client.ts'
import { RetryableError } from './response-policy.ts'
import { RetryPolicy } from './retry-policy.ts'
import { type ClientSession, expireHostId, onFailure, sessionUrl } from './session.ts'
import { HttpTransport } from './transport.ts'

/**
 * Ends an upload that was paused or has failed: the server removes its session, and the job file is deleted.
 * A file that is already complete on the server stays. Failures that can pass are retried for a day, see
 * `noProgressTimeout`.
 *
 * @param job path of the job file
 * @throws {TypeError} for an invalid option, with what to write instead
 * @throws {UploadError} with `code`, if the server refuses or there is no job file. The job file is then
 *   kept.
 */
export async function cancelUpload(job: string, options: CancelOptions = {}): Promise<void> {
  if (typeof job !== 'string' || job === '') throw new TypeError('cancelUpload: pass the path of a job file')
  const settings = readCancelOptions(options)
  settings.signal?.throwIfAborted()
  const opened = await Job.open(job)
  try {
    const { url, session } = opened
    if (url === undefined || !session) throw new UploadError('job-invalid', `${opened.path} does not exist.`)
    await cancelRemoteSession(new URL(url), session, settings, systemClock)
    await opened.remove()
  } finally {
    await opened.release()
  }
}

/** Sends Cancel-Session until a response is final (win32: Ack for Cancel-Session). */
export async function cancelRemoteSession(
  destination: URL,
  session: ClientSession,
  settings: CommonSettings,
  clock: Clock,
): Promise<void> {
  const { auth, headers, signal } = settings
  const retryPolicy = new RetryPolicy(settings, clock)
  const attemptLimit = (): number => retryPolicy.attemptLimit()
  const transport = new HttpTransport({ ...settings, attemptLimit }, signal)
  const extras = { name: undefined, headers }
  const packetClient = new PacketClient(transport, { destination, extras, auth })
  try {
    for (;;) {
      expireHostId(session, clock.now())
      try {
        await packetClient.send(
          { type: 'Cancel-Session', sessionId: session.id },
          sessionUrl(destination, session),
        )
        return
      } catch (error) {
        signal?.throwIfAborted()
        if (!(error instanceof RetryableError)) throw error
        // There is no session to cancel ([MC-BUP] 3.1.5.2.1).
        if (error.reason === 'session-lost') return
        onFailure(session, clock.now())
        const delay = retryPolicy.nextDelay(error.details)
        if (delay === undefined) throw error.toUploadError('no-progress')
        await clock.wait(delay, signal)
      }
    }
  } finally {
    transport.close()
  }
}

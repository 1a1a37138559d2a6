import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { CopyFileToDestinationHeader, field, MaxUrl, StaticResponseUrlHeader } from '../protocol/headers.ts'
import type { CompleteUpload, UploadDecision } from '../sessions/hooks.ts'
import type { SessionPaths } from '../stores/store.ts'
import { assertKnownKeys, checkOneOf, checkTimer, optionError } from '../validate.ts'

/** Options of {@link notifyApplication}. In brackets: the corresponding property of IIS. */
export interface NotificationOptions {
  /**
   * The URL of the application: `http:` or `https:`, at most 2,200 characters, with name and password if the
   * application requires them (Basic authentication). The query of the upload's URL is added. A relative URL
   * is resolved against the upload's folder and requested from this server. [BITSServerNotificationURL]
   */
  readonly url: string
  /**
   * Required. `'reference'`: the notification names the file of the upload and the file for the reply; the application
   * must have access to the files of this machine. `'value'`: the notification contains the upload, and the
   * body of its answer is the reply. [BITSServerNotificationType 1 and 2]
   */
  readonly mode: 'reference' | 'value'
  /**
   * Milliseconds of silence, while sending or receiving, after which the application has failed: the client
   * gets 408 and retries. Default: 5 minutes, as long as Windows waits for an answer; only a shorter time lets
   * the client receive the 408.
   */
  readonly timeout?: number
}

/**
 * Creates an `onUpload` hook that notifies a server application of each upload, as the BITS extension of IIS
 * does ([MC-BUP] 2.2.12, win32: Notification protocol for server applications). Applications written for IIS
 * need no change.
 *
 * The notification is a POST with `BITS-Original-Request-URL`; by reference it also has `BITS-Request-DataFile-Name` and
 * `BITS-Response-DataFile-Name`. An answer with 200 or another 2xx contains the reply, which may be empty: the body, or the
 * file that was written. The upload is published only if the answer has the field `BITS-Copy-File-To-Destination`. With
 * `BITS-Static-Response-URL` the reply is at that URL.
 *
 * After a 403 the application is not notified of that upload again. After any other answer from 400 to 599 the client gets its
 * status; but 400 instead of a status that has another meaning for clients (401, 407, 413, 416, and redirections up to 307),
 * and 500 for what is none of these, all with context 7. At each retry of the client the application is notified again, so it
 * may be notified of the same upload more than once.
 *
 * @example
 * app.use('/upload', bitsUpload({ store: './incoming', onUpload: notifyApplication({ url, mode: 'value' }) }))
 * @throws {TypeError} for an option that is unknown, missing or out of range
 */
export function notifyApplication(
  options: NotificationOptions,
): (upload: CompleteUpload, caller: IncomingMessage) => Promise<UploadDecision> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError('notifyApplication: pass options, at least { url, mode }')
  }
  assertKnownKeys('notifyApplication', 'option', options, ['url', 'mode', 'timeout'])
  const { url, mode, timeout = 300_000 } = options
  checkUrl(url)
  checkOneOf('notifyApplication', 'mode', mode, ['reference', 'value'])
  checkTimer('notifyApplication', 'timeout', timeout, 1)
  return async (upload, caller) => {
    // Not loaded at the start of the process, because most applications receive no notifications.
    const { isSuccessStatus, sendNotification, toBitsError } = await import('./request.ts')
    const paths = mode === 'reference' ? await preparePaths(upload) : undefined
    const answer = await sendNotification({ url, timeout, upload, caller, paths })
    if (isSuccessStatus(answer)) return readDecision(answer, paths)
    // The status and the header fields are sufficient.
    await drainApplicationResponse(answer).catch(() => {})
    throw toBitsError(answer)
  }
}

function checkUrl(url: unknown): void {
  const isUrl = typeof url === 'string' && url !== '' && URL.canParse(url, 'http://localhost/')
  // A protocol-relative URL (`//host/`) is neither absolute nor a path.
  if (!isUrl || /^[\\/]{2}/.test(url) || !/^https?:$/.test(new URL(url, 'http://localhost/').protocol)) {
    throw optionError('notifyApplication', 'url', 'a URL with http: or https:, or a path', url)
  }
  if (url.length > MaxUrl) {
    throw new TypeError(`notifyApplication: option 'url' takes at most ${MaxUrl} characters`)
  }
}

/** Deletes the reply file of an earlier attempt, so that it is not taken for the reply of this one. */
async function preparePaths({ paths }: CompleteUpload): Promise<SessionPaths> {
  if (!paths) {
    const cause = new TypeError("mode: 'reference' needs a store with files; use mode: 'value'")
    throw new BitsError('application-failed', cause.message, { cause })
  }
  await rm(paths.reply, { force: true })
  return paths
}

async function readDecision(
  answer: IncomingMessage,
  paths: SessionPaths | undefined,
): Promise<UploadDecision> {
  // Only the presence of the field counts.
  const publish = field(answer.headers, CopyFileToDestinationHeader) !== undefined
  const url = field(answer.headers, StaticResponseUrlHeader)
  if (url) {
    await drainApplicationResponse(answer)
    return { publish, reply: { url } }
  }
  if (!paths || !existsSync(paths.reply)) return { publish, reply: answer }
  await drainApplicationResponse(answer)
  return { publish, reply: { file: paths.reply } }
}

/** Reads and discards a body that is not needed, so that the application can send it to its end. */
async function drainApplicationResponse(answer: IncomingMessage): Promise<void> {
  answer.resume()
  await once(answer, 'end')
}

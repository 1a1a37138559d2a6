import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { CopyFileToDestinationHeader, field, MaxUrl, StaticResponseUrlHeader } from '../protocol/headers.ts'
import type { CompleteUpload, UploadDecision } from '../sessions/hooks.ts'
import type { SessionPaths } from '../stores/store.ts'
import { assertKnownKeys, MaxTimerMs } from '../validate.ts'
import { isSuccess, sendNotification, toBitsError } from './request.ts'

/** Options of {@link notifyApplication}. In brackets: the property of IIS that an option stands for. */
export interface NotificationOptions {
  /**
   * Where the application listens: `http:` or `https:`, 2,200 characters at most, with name and password where it wants
   * them (Basic). The query of the upload's URL is added.
   * A relative one is resolved against the upload's folder, and asked of this very server. [BITSServerNotificationURL]
   */
  readonly url: string
  /**
   * `'reference'`: the application is told in which file the upload stands, and in which to write its reply; it must see
   * this machine's files. `'value'`: it is sent the upload, and its answer's body is the reply.
   * [BITSServerNotificationType 1 and 2]
   */
  readonly mode: 'reference' | 'value'
  /**
   * Milliseconds of silence, in sending or receiving, after which the application counts as failed: 408, and the client
   * comes back. Default: 5 minutes, which is as long as Windows waits for an answer: with less it learns why.
   */
  readonly timeout?: number
}

/**
 * A hook `onUpload` that tells a server application of each upload, as the BITS extension of IIS does ([MC-BUP] 2.2.12,
 * win32: Notification protocol for server applications), so that programs written for that need not be changed.
 *
 * What the application answers with 200, or another 2xx, is the reply, an empty one too. The upload appears under its name only if it says
 * `BITS-Copy-File-To-Destination`. With `BITS-Static-Response-URL` the reply stands elsewhere. After 403 it is not asked
 * again for that upload; after anything else it is, whenever the client comes back. It may thus be told of the same upload
 * more than once.
 *
 * @example app.use('/upload', bitsUpload({ store: './incoming', onUpload: notifyApplication({ url, mode: 'value' }) }))
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
  if (mode !== 'reference' && mode !== 'value') {
    throw new TypeError(`notifyApplication: mode is 'reference' or 'value', not '${mode}'`)
  }
  if (typeof timeout !== 'number' || !(timeout >= 1 && timeout <= MaxTimerMs)) {
    throw new TypeError(`notifyApplication: timeout is a number of milliseconds from 1 to ${MaxTimerMs}`)
  }
  return async (upload, caller) => {
    const paths = mode === 'reference' ? await preparePaths(upload) : undefined
    const answer = await sendNotification({ url, timeout, upload, caller, paths })
    if (isSuccess(answer)) return readDecision(answer, paths)
    // Its head says all there is to know.
    await drain(answer).catch(() => {})
    throw toBitsError(answer)
  }
}

function checkUrl(url: unknown): void {
  const isUrl = typeof url === 'string' && url !== '' && URL.canParse(url, 'http://localhost/')
  // Another host without a scheme would be a third kind.
  if (!isUrl || /^[\\/]{2}/.test(url) || !/^https?:$/.test(new URL(url, 'http://localhost/').protocol)) {
    throw new TypeError(`notifyApplication: url is a URL with http: or https:, or a path, not '${url}'`)
  }
  if (url.length > MaxUrl) throw new TypeError(`notifyApplication: url is longer than ${MaxUrl} characters`)
}

/** No reply of an earlier attempt may be taken for that of this one. */
async function preparePaths({ paths }: CompleteUpload): Promise<SessionPaths> {
  if (!paths) {
    const cause = new TypeError("mode: 'reference' needs a store that keeps files; use mode: 'value'")
    throw new BitsError('application-failed', cause.message, { cause })
  }
  await rm(paths.reply, { force: true })
  return paths
}

async function readDecision(
  answer: IncomingMessage,
  paths: SessionPaths | undefined,
): Promise<UploadDecision> {
  // Its presence alone counts.
  const publish = field(answer.headers, CopyFileToDestinationHeader) !== undefined
  const url = field(answer.headers, StaticResponseUrlHeader)
  if (url) {
    await drain(answer)
    return { publish, reply: { url } }
  }
  if (!paths || !existsSync(paths.reply)) return { publish, reply: answer }
  await drain(answer)
  return { publish, reply: { file: paths.reply } }
}

/** Reads away a body that means nothing, so that the application is not cut off while it sends. */
async function drain(answer: IncomingMessage): Promise<void> {
  answer.resume()
  await once(answer, 'end')
}

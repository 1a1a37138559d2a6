import type { IncomingMessage, RequestOptions } from 'node:http'
import { pipeline } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import { http, https } from '../builtins.ts'
import { BitsError, HttpFacility } from '../protocol/errors.ts'
import {
  ErrorHeaders,
  field,
  OriginalRequestUrlHeader,
  RequestDataFileNameHeader,
  ResponseDataFileNameHeader,
} from '../protocol/headers.ts'
import type { CompleteUpload } from '../sessions/hooks.ts'
import type { SessionPaths } from '../stores/store.ts'

export interface Notification {
  /** Absolute, or relative to the upload's folder on this server. */
  readonly url: string
  /** Milliseconds of silence. */
  readonly timeout: number
  readonly upload: CompleteUpload
  readonly caller: IncomingMessage
  /** Paths for a notification by reference; without them the notification contains the upload. */
  readonly paths: SessionPaths | undefined
}

/**
 * Sends a notification with POST and the header fields that were captured from IIS ([MC-BUP] 4.2).
 * @returns the response after its head has arrived; the caller must read its body, which fails with the same
 * errors
 * @throws {BitsError} `application-timeout`; for a failed connection the error of `node:http`
 */
export function sendNotification({
  url,
  timeout,
  upload,
  caller,
  paths,
}: Notification): Promise<IncomingMessage> {
  const target = notificationTarget(url, upload.url, caller)
  const headers = {
    Accept: '*/*',
    [OriginalRequestUrlHeader]: upload.url,
    ...(paths && {
      [RequestDataFileNameHeader]: asFieldValue(paths.upload),
      [ResponseDataFileNameHeader]: asFieldValue(paths.reply),
    }),
    'User-Agent': 'BITSExts 1.5',
    'Content-Length': paths ? 0 : upload.size,
    Connection: 'Keep-Alive',
    ...target.headers,
  }
  return new Promise((resolve, reject) => {
    const request = target.protocol === 'https:' ? https().request : http.request
    // A new connection: a keep-alive connection may close at this moment, and the client would retry only
    // minutes later.
    const outgoing = request({ ...target, method: 'POST', headers, timeout, agent: false })
    let answer: IncomingMessage | undefined
    outgoing
      .on('timeout', () => (answer ?? outgoing).destroy(new BitsError('application-timeout')))
      .on('error', reject)
      // An unrequested upgrade emits only 'close'.
      .on('close', () => reject(new Error('The application ended the connection without an answer')))
      .on('response', (response) => {
        answer = response
        // If the application answered before it had read the whole upload, stop sending and close the file.
        response.on('close', () => outgoing.destroy())
        resolve(response)
      })
    if (paths) outgoing.end()
    // After an answer, an error of the pipeline has no effect: the promise is already resolved.
    else pipeline(upload.read(), outgoing, (error) => error && reject(error))
  })
}

/** Header fields are bytes: other characters than ASCII are sent as UTF-8. */
const asFieldValue = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

/**
 * The target of a notification. A relative URL is requested from this server, at the address that accepted
 * the client's connection. It is never requested from the host in the client's Host header, because then any
 * client could have files sent to any host.
 */
function notificationTarget(url: string, uploadUrl: string, { socket }: IncomingMessage): RequestOptions {
  const [, query] = /\?([^#]*)/.exec(uploadUrl) ?? []
  const isAbsolute = URL.canParse(url)
  const target = new URL(url, isAbsolute ? undefined : uploadUrl)
  if (query) target.search += `${target.search ? '&' : '?'}${query}`
  if (isAbsolute) return urlToHttpOptions(target)
  const { localAddress, localPort } = socket
  if (localAddress === undefined || localPort === undefined) {
    const reason = socket.destroyed
      ? 'the client has disconnected'
      : 'the server has no network address; use an absolute URL'
    throw new TypeError(`notifyApplication: cannot resolve the relative url: ${reason}`)
  }
  return {
    protocol: 'encrypted' in socket ? 'https:' : 'http:',
    hostname: localAddress,
    port: localPort,
    path: target.pathname + target.search,
    headers: { Host: target.host },
    // The target is this server itself, and its certificate may be for other names or of an authority unknown
    // to Node.
    ...('encrypted' in socket && { rejectUnauthorized: false }),
  }
}

export const isSuccessStatus = ({ statusCode = 0 }: IncomingMessage): boolean =>
  statusCode >= 200 && statusCode < 300

/**
 * Converts an answer that is not a success to the error for the client, by the table of "Handling server
 * application errors" (win32): it has the status of the answer, and its HRESULT if the answer contains one.
 */
export function toBitsError({ statusCode = 0, headers }: IncomingMessage): BitsError {
  const text = `The application answered ${statusCode}`
  if (statusCode === 403) return new BitsError('application-refused', text)
  const hresult = ErrorHeaders.map((name) => readHresult(field(headers, name))).find(Boolean)
  return new BitsError('application-failed', text, {
    status: mapStatus(statusCode),
    hresult: hresult ?? HttpFacility + statusCode,
  })
}

/**
 * Statuses that concern packets instead of the file: the client would send other credentials or smaller
 * fragments, and would take a 416 with all bytes held for success.
 */
const PacketLevelStatuses = [401, 407, 413, 416]
/** Redirects that end the job of a client; other redirects do not. */
const FatalRedirects = [300, 301, 302, 303, 304, 305, 307]

function mapStatus(status: number): number {
  if (PacketLevelStatuses.includes(status) || FatalRedirects.includes(status)) return 400
  return status >= 400 && status <= 599 ? status : 500
}

/**
 * Parses `0x80070005`, or `x80070005` as [MC-BUP] prints it; returns undefined for any other text, or a
 * success.
 */
function readHresult(text: string | undefined): number | undefined {
  const [, digits] = /^0?x([0-9a-f]{8})$/i.exec(text?.trim() ?? '') ?? []
  const hresult = Number.parseInt(digits ?? '', 16)
  return hresult >= 0x80000000 ? hresult : undefined
}

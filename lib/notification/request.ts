import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { pipeline } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
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
  /** By reference; else the upload itself is sent. */
  readonly paths: SessionPaths | undefined
}

/**
 * Posts a notification, with the header fields that IIS was seen to send ([MC-BUP] 4.2).
 * @returns the answer's head; its body, which must be read, ends with the same errors
 * @throws {BitsError} `application-timeout`; else what `node:http` says of a connection that failed
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
    const request = target.protocol === 'https:' ? requestHttps : requestHttp
    // A connection of its own: one that was kept may die just when it is needed, and the client comes back in minutes.
    const outgoing = request({ ...target, method: 'POST', headers, timeout, agent: false })
    let answer: IncomingMessage | undefined
    outgoing
      .on('timeout', () => (answer ?? outgoing).destroy(new BitsError('application-timeout')))
      .on('error', reject)
      // After an upgrade that nobody asked for this is all that comes.
      .on('close', () => reject(new Error('The application ended the connection without an answer')))
      .on('response', (response) => {
        answer = response
        // An application that has answered before it has read all is not sent the rest, nor is the file kept open for it.
        response.on('close', () => outgoing.destroy())
        resolve(response)
      })
    if (paths) outgoing.end()
    // If it breaks the rest off itself, its answer stands.
    else pipeline(upload.read(), outgoing, (error) => error && reject(error))
  })
}

/** Header fields are bytes; those beyond ASCII are sent as UTF-8. */
const asFieldValue = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

/**
 * Where a notification goes. A relative URL leads to the server that took the upload, by the address at which it took it:
 * never to the host that the client's own header named, for then any client could have files sent anywhere.
 */
function notificationTarget(url: string, uploadUrl: string, { socket }: IncomingMessage): RequestOptions {
  const [, query] = /\?([^#]*)/.exec(uploadUrl) ?? []
  const isAbsolute = URL.canParse(url)
  const target = new URL(url, isAbsolute ? undefined : uploadUrl)
  if (query) target.search += `${target.search ? '&' : '?'}${query}`
  if (isAbsolute) return urlToHttpOptions(target)
  const { localAddress, localPort } = socket
  if (localAddress === undefined || localPort === undefined) {
    const reason = socket.destroyed ? 'the client has left' : 'its server has no address: write the whole URL'
    throw new TypeError(`notifyApplication: a relative url leads nowhere, for ${reason}`)
  }
  return {
    protocol: 'encrypted' in socket ? 'https:' : 'http:',
    hostname: localAddress,
    port: localPort,
    path: target.pathname + target.search,
    headers: { Host: target.host },
    // Who is at its own address it knows, and its certificate may be for names, or signed by somebody, that Node does not.
    ...('encrypted' in socket && { rejectUnauthorized: false }),
  }
}

export const isSuccess = ({ statusCode = 0 }: IncomingMessage): boolean =>
  statusCode >= 200 && statusCode < 300

/**
 * What an application's answer that is no success means to the client, by the table of "Handling server application errors"
 * (win32): its own status, and its own HRESULT if it names one.
 */
export function toBitsError({ statusCode = 0, headers }: IncomingMessage): BitsError {
  const text = `The application answered ${statusCode}`
  if (statusCode === 403) return new BitsError('application-refused', text)
  const named = ErrorHeaders.map((name) => readHresult(field(headers, name))).find(Boolean)
  return new BitsError('application-failed', text, {
    status: mapStatus(statusCode),
    hresult: named ?? HttpFacility + statusCode,
  })
}

/**
 * Statuses that are about the client's packets and not about its file: it would offer other credentials, or smaller
 * fragments, and take 416 with all bytes held for success.
 */
const PacketLevelStatuses = [401, 407, 413, 416]
/** To a client these end the job, as other redirections do not. */
const FatalRedirects = [300, 301, 302, 303, 304, 305, 307]

function mapStatus(status: number): number {
  if (PacketLevelStatuses.includes(status) || FatalRedirects.includes(status)) return 400
  return status >= 400 && status <= 599 ? status : 500
}

/** `0x80070005`; also with a bare `x`, as the specification prints it. */
function readHresult(text: string | undefined): number | undefined {
  const [, digits] = /^0?x([0-9a-f]{8})$/i.exec(text?.trim() ?? '') ?? []
  const hresult = Number.parseInt(digits ?? '', 16)
  return hresult >= 0x80000000 ? hresult : undefined
}

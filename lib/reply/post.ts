import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { pipeline } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import { BitsError } from '../protocol/errors.ts'
import {
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
export function post({ url, timeout, upload, caller, paths }: Notification): Promise<IncomingMessage> {
  const target = targetOf(url, upload.url, caller)
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
    const begin = target.protocol === 'https:' ? requestHttps : requestHttp
    // A connection of its own: one that was kept may die just when it is needed, and the client comes back in minutes.
    const outgoing = begin({ ...target, method: 'POST', headers, timeout, agent: false })
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
function targetOf(url: string, uploadUrl: string, { socket }: IncomingMessage): RequestOptions {
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

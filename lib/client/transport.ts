import {
  type Agent,
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import type { HeaderFields } from '../protocol/headers.ts'
import { UploadError } from './errors.ts'
import { RetryableError } from './response-policy.ts'

/** Options of Node's `tls.connect`: `ca`, `cert`, `key`, `pfx`, `rejectUnauthorized` and others. */
export type TlsOptions = ConnectionOptions

export interface TransportSettings {
  readonly tls: TlsOptions
  /** Milliseconds without progress while a request is sent ([MC-BUP] 3.1.2.1). */
  readonly sendTimeout: number
  /** Milliseconds without progress until the response begins, and while it is read ([MC-BUP] 3.1.2.2). */
  readonly responseTimeout: number
}

export interface TransportRequest {
  readonly method: string
  readonly url: URL
  /** Sent in this order, with the names spelled as here. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Its length must be that of the field Content-Length. */
  readonly body?: AsyncIterable<Uint8Array>
  /** Called with the length of each chunk of the body, when the system has taken it. */
  readonly onSent?: (bytes: number) => void
  /** The server is not that of the destination: it gets no client certificate. */
  readonly crossOrigin?: boolean
}

/**
 * Reads a response, and resolves to what the request returns. The connection is kept if the body was read to
 * its end.
 */
export type Reader<T> = (response: IncomingMessage, chunks: AsyncIterable<Buffer>) => Promise<T>

/** Options of the client certificate. */
const certificateOptions = ['cert', 'key', 'passphrase', 'pfx'] as const

/** Sends requests over kept connections, one request at a time on each. */
export class HttpTransport {
  readonly #settings: TransportSettings
  readonly #signal: AbortSignal | undefined
  readonly #plain = new HttpAgent({ keepAlive: true })
  readonly #secure: HttpsAgent
  readonly #crossOrigin: HttpsAgent

  constructor(settings: TransportSettings, signal: AbortSignal | undefined) {
    this.#settings = settings
    this.#signal = signal
    const { tls } = settings
    this.#secure = new HttpsAgent({ ...tls, keepAlive: true })
    const others = Object.entries(tls).filter(
      ([name]) => !(certificateOptions as readonly string[]).includes(name),
    )
    this.#crossOrigin = new HttpsAgent({ ...Object.fromEntries(others), keepAlive: true })
  }

  /**
   * Sends a request and reads its response.
   * @throws {RetryableError} with reason `retry` if the connection fails, or makes no progress
   * @throws {UploadError} `certificate`
   * @throws errors of the body and of the reader, and the signal's reason
   */
  request<T>(request: TransportRequest, read: Reader<T>): Promise<T> {
    this.#signal?.throwIfAborted()
    return sendRequest(this.#open(request), request, read, this.#settings, this.#signal)
  }

  /** Closes all connections. */
  close(): void {
    for (const agent of [this.#plain, this.#secure, this.#crossOrigin]) agent.destroy()
  }

  #open({ method, url, fields, crossOrigin }: TransportRequest): ClientRequest {
    const secure = url.protocol === 'https:'
    const agent: Agent = secure ? (crossOrigin ? this.#crossOrigin : this.#secure) : this.#plain
    const open = secure ? httpsRequest : httpRequest
    return open({
      agent,
      method,
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port || (secure ? 443 : 80),
      path: pathAndQuery(url),
      // Node sends a flat list unchanged, in this order.
      headers: fields.flat(),
      setHost: false,
    })
  }
}

/** Whether a response says where it ends. Otherwise its end is that of the connection. */
export const isFramed = (headers: HeaderFields): boolean =>
  headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined

/** The request target in origin form. */
export const pathAndQuery = ({ pathname, search }: URL): string => pathname + search

async function sendRequest<T>(
  outgoing: ClientRequest,
  request: TransportRequest,
  read: Reader<T>,
  { sendTimeout, responseTimeout }: TransportSettings,
  signal: AbortSignal | undefined,
): Promise<T> {
  let connected = false
  let answered = false
  /** The rest of the body is not needed. */
  let stopSending = false
  let settled = false
  let timer: NodeJS.Timeout | undefined
  let abort = (): void => {}

  try {
    return await new Promise<T>((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(error)
        outgoing.destroy()
      }
      const startTimer = (what: string, milliseconds: number): void => {
        clearTimeout(timer)
        // After an abort the reader may still be working on a chunk.
        if (settled) return
        timer = setTimeout(() => {
          fail(new RetryableError('retry', `${what} for ${milliseconds} ms`, { unsent: !connected }))
        }, milliseconds)
      }
      const connectionError = (cause: unknown): unknown => {
        const { socket } = outgoing
        const tlsError = (socket as TLSSocket | null)?.authorizationError
        if (tlsError && !connected) return new UploadError('certificate', `${tlsError}.`, { cause })
        const reason = cause instanceof Error ? cause.message : 'closed without an answer'
        // The server closed a kept connection at the moment at which it was used again.
        const stale = outgoing.reusedSocket && !answered
        return new RetryableError('retry', `The connection failed: ${reason}`, {
          cause,
          stale,
          unsent: !connected,
        })
      }
      abort = () => fail(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })

      startTimer('Nothing could be sent', sendTimeout)
      outgoing
        .on('socket', (socket) => {
          connected = outgoing.reusedSocket
          if (connected) return
          socket.once(request.url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
            connected = true
          })
        })
        // Once the response has begun, its reader reports the failure, after the bytes that have arrived.
        .on('error', (error) => {
          if (!answered) fail(connectionError(error))
        })
        .on('close', () => {
          if (!answered) fail(connectionError(undefined))
        })
        .on('finish', () => {
          if (!answered) startTimer('There was no answer', responseTimeout)
        })
        .on('response', (response) => {
          answered = true
          stopSending = true
          read(
            response,
            chunksOf(response, {
              onWait: () => startTimer('The answer made no progress', responseTimeout),
              onChunk: () => clearTimeout(timer),
            }),
          ).then((result) => {
            // A connection with unsent bytes of the request or unread bytes of the response cannot be used
            // again.
            if (!outgoing.writableEnded || !response.complete) outgoing.destroy()
            resolve(result)
          }, fail)
        })
      const progress = (): void => startTimer('Nothing could be sent', sendTimeout)
      writeBody(outgoing, request, { shouldStop: () => stopSending, progress }).catch(fail)
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    stopSending = true
    settled = true
  }
}

/** Sends the body chunk by chunk, until its end or the response: a response before the end is final. */
async function writeBody(
  outgoing: ClientRequest,
  { body, onSent }: TransportRequest,
  { shouldStop, progress }: { readonly shouldStop: () => boolean; readonly progress: () => void },
): Promise<void> {
  for await (const chunk of body ?? []) {
    if (shouldStop()) return
    // Called when the system has taken the chunk, or the request is destroyed.
    await new Promise<void>((resolve) => outgoing.write(chunk, () => resolve()))
    if (shouldStop()) return
    progress()
    onSent?.(chunk.length)
  }
  if (!shouldStop()) outgoing.end()
}

/**
 * The chunks of a body. The timer runs only while the next chunk is missing, not while the reader works on
 * one.
 */
async function* chunksOf(
  response: IncomingMessage,
  { onWait, onChunk }: { readonly onWait: () => void; readonly onChunk: () => void },
): AsyncGenerator<Buffer> {
  try {
    onWait()
    for await (const chunk of response) {
      onChunk()
      yield chunk
      onWait()
    }
  } catch (cause) {
    throw new RetryableError('retry', 'The connection broke during the answer', { cause })
  }
}

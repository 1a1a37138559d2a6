import {
  type Agent,
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { UploadError } from './errors.ts'
import { RetryableError } from './response-policy.ts'

/** Options of Node's `tls.connect`: `ca`, `cert`, `key`, `pfx`, `rejectUnauthorized` and the like. */
export type TlsOptions = ConnectionOptions

export interface TransportSettings {
  readonly tls: TlsOptions
  /** Milliseconds without progress while a request is sent ([MC-BUP] 3.1.2.1). */
  readonly sendTimeout: number
  /** Milliseconds without progress while an answer is awaited, or read ([MC-BUP] 3.1.2.2). */
  readonly responseTimeout: number
}

export interface TransportRequest {
  readonly method: string
  readonly url: URL
  /** Sent in this order and spelling. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** As many bytes as Content-Length says. */
  readonly body?: AsyncIterable<Uint8Array>
  /** Told of the body's bytes, when they are with the system. */
  readonly onSent?: (bytes: number) => void
  /** The server is not the destination's: it gets no client certificate. */
  readonly crossOrigin?: boolean
}

/** Makes something of an answer while it is read. The connection can be used again if it was read to its end. */
export type Reader<T> = (response: IncomingMessage, chunks: AsyncIterable<Buffer>) => Promise<T>

const secrets = ['cert', 'key', 'passphrase', 'pfx'] as const

/** Connections to servers, kept and used again; one request at a time on each. */
export class HttpTransport {
  readonly #settings: TransportSettings
  readonly #signal: AbortSignal | undefined
  readonly #plain = new HttpAgent({ keepAlive: true })
  readonly #secure: HttpsAgent
  readonly #secureToStrangers: HttpsAgent

  constructor(settings: TransportSettings, signal: AbortSignal | undefined) {
    this.#settings = settings
    this.#signal = signal
    const { tls } = settings
    this.#secure = new HttpsAgent({ ...tls, keepAlive: true })
    const open = Object.entries(tls).filter(([name]) => !(secrets as readonly string[]).includes(name))
    this.#secureToStrangers = new HttpsAgent({ ...Object.fromEntries(open), keepAlive: true })
  }

  /**
   * Sends a request and reads its answer.
   * @throws {RetryableError} of the kind `retry` for a connection that breaks or falls silent
   * @throws {UploadError} `certificate`
   * @throws what the body or the reader throws, and the signal's reason
   */
  request<T>(request: TransportRequest, read: Reader<T>): Promise<T> {
    this.#signal?.throwIfAborted()
    return sendRequest(this.#begin(request), request, read, this.#settings, this.#signal)
  }

  /** Closes all connections. */
  close(): void {
    for (const agent of [this.#plain, this.#secure, this.#secureToStrangers]) agent.destroy()
  }

  #begin({ method, url, fields, crossOrigin }: TransportRequest): ClientRequest {
    const secure = url.protocol === 'https:'
    const agent: Agent = secure ? (crossOrigin ? this.#secureToStrangers : this.#secure) : this.#plain
    const begin = secure ? httpsRequest : httpRequest
    return begin({
      agent,
      method,
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port || (secure ? 443 : 80),
      path: pathAndQuery(url),
      // A flat list goes out as it is, in this order.
      headers: fields.flat(),
      setHost: false,
    })
  }
}

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
  let over = false
  let settled = false
  let timer: NodeJS.Timeout | undefined
  let abort = (): void => {}

  try {
    return await new Promise<T>((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(error)
        outgoing.destroy()
      }
      const expect = (what: string, milliseconds: number): void => {
        clearTimeout(timer)
        // A reader may still have had a chunk in its hands when a signal ended it all.
        if (settled) return
        timer = setTimeout(() => {
          fail(new RetryableError('retry', `${what} for ${milliseconds} ms`, { unsent: !connected }))
        }, milliseconds)
      }
      const broken = (cause: unknown): unknown => {
        const { socket } = outgoing
        const tlsError = (socket as TLSSocket | null)?.authorizationError
        if (tlsError && !connected) return new UploadError('certificate', `${tlsError}.`, { cause })
        const reason = cause instanceof Error ? cause.message : 'closed without an answer'
        // The server closed the kept connection in the moment in which it was taken again.
        const stale = outgoing.reusedSocket && !answered
        return new RetryableError('retry', `The connection failed: ${reason}`, {
          cause,
          stale,
          unsent: !connected,
        })
      }
      abort = () => fail(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })

      expect('Nothing could be sent', sendTimeout)
      outgoing
        .on('socket', (socket) => {
          connected = outgoing.reusedSocket
          if (connected) return
          socket.once(request.url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
            connected = true
          })
        })
        // Once there is an answer its reader learns of the end, and is not left behind with bytes in its hands.
        .on('error', (error) => {
          if (!answered) fail(broken(error))
        })
        .on('close', () => {
          if (!answered) fail(broken(undefined))
        })
        .on('finish', () => {
          if (!answered) expect('There was no answer', responseTimeout)
        })
        .on('response', (response) => {
          answered = true
          over = true
          read(
            response,
            chunksOf(response, {
              awaited: () => expect('The answer stood still', responseTimeout),
              arrived: () => clearTimeout(timer),
            }),
          ).then((result) => {
            // A connection on which something is left, of the question or of the answer, is of no more use.
            if (!outgoing.writableEnded || !response.complete) outgoing.destroy()
            resolve(result)
          }, fail)
        })
      const progress = (): void => expect('Nothing could be sent', sendTimeout)
      writeBody(outgoing, request, { isOver: () => over, progress }).catch(fail)
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    over = true
    settled = true
  }
}

/** Sends the body, a chunk at a time; an answer that comes before its end makes the rest needless. */
async function writeBody(
  outgoing: ClientRequest,
  { body, onSent }: TransportRequest,
  { isOver, progress }: { readonly isOver: () => boolean; readonly progress: () => void },
): Promise<void> {
  for await (const chunk of body ?? []) {
    if (isOver()) return
    // Called when the system has taken the chunk, or the request is destroyed.
    await new Promise<void>((resolve) => outgoing.write(chunk, () => resolve()))
    if (isOver()) return
    progress()
    onSent?.(chunk.length)
  }
  if (!isOver()) outgoing.end()
}

/** The time that the reader takes for a chunk is not the server's. */
async function* chunksOf(
  response: IncomingMessage,
  { awaited, arrived }: { readonly awaited: () => void; readonly arrived: () => void },
): AsyncGenerator<Buffer> {
  try {
    awaited()
    for await (const chunk of response) {
      arrived()
      yield chunk
      awaited()
    }
  } catch (cause) {
    throw new RetryableError('retry', 'The connection broke within the answer', { cause })
  }
}

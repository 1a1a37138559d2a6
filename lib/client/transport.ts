import type { ClientRequest, IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { http, https } from '../builtins.ts'
import type { HeaderFields } from '../protocol/headers.ts'
import { connectionError, TransportHistory } from './connection-failure.ts'
import { Connections, type TlsOptions } from './connections.ts'
import { headersOf } from './packet.ts'
import { RetryableError } from './response-policy.ts'
import { hostOf, portOf, requestedCertificate } from './tls-fault.ts'

export interface TransportSettings {
  readonly tls: TlsOptions
  /** Milliseconds without progress while a request is sent ([MC-BUP] 3.1.2.1). */
  readonly sendTimeout: number
  /** Milliseconds until the response, with its body, has ended ([MC-BUP] 3.1.2.2). */
  readonly responseTimeout: number
  /** Returns the milliseconds that bound both timeouts of the next request. Default: no bound. */
  readonly attemptLimit?: () => number
}

export interface TransportRequest {
  readonly method: string
  readonly url: URL
  /** Sent in this order, with the names spelled as here. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /**
   * Its length must be that of the field Content-Length. A chunk is not used any more when the next one is requested, so
   * the iterable may fill the same memory again; nor when the body has been read to its end.
   */
  readonly body?: AsyncIterable<Uint8Array>
  /** Called with the length of each chunk of the body, when the system has taken it. */
  readonly onSent?: (bytes: number) => void
  /** The server is not that of the destination: it gets no client certificate. */
  readonly crossOrigin?: boolean
  /**
   * Bytes per second at which the body of the response may arrive for longer than `responseTimeout`. Default:
   * it must end within `responseTimeout`.
   */
  readonly minResponseRate?: number
}

/**
 * Reads a response, and resolves to what the request returns. The connection is kept if the body was read to
 * its end.
 */
export type Reader<T> = (response: IncomingMessage, chunks: AsyncIterable<Buffer>) => Promise<T>

/** Sends requests, one at a time, over kept connections. */
export class HttpTransport {
  readonly #settings: TransportSettings
  readonly #signal: AbortSignal | undefined
  readonly #connections: Connections
  readonly #ownsConnections: boolean
  readonly #history = new TransportHistory()
  /** Of {@link abort}. */
  #aborted: { readonly error: unknown } | undefined
  /** Ends the request in flight with an error. */
  #fail: ((error: unknown) => void) | undefined
  /** The last request failed because the server had closed its connection; others may be closed, too. */
  #wasStale = false

  /** @param connections shared with other transports. Default: its own */
  constructor(settings: TransportSettings, signal: AbortSignal | undefined, connections?: Connections) {
    this.#settings = settings
    this.#signal = signal
    this.#connections = connections ?? new Connections(settings.tls)
    this.#ownsConnections = connections === undefined
  }

  /**
   * Sends a request and reads its response.
   * @throws {RetryableError} with reason `retry` if the connection fails, or makes no progress
   * @throws {UploadError} `certificate`, `tls-failed`
   * @throws errors of the body and of the reader, and the signal's reason
   */
  async request<T>(request: TransportRequest, read: Reader<T>): Promise<T> {
    this.#signal?.throwIfAborted()
    if (this.#aborted) throw this.#aborted.error
    // The next request must not fail in the same way on another connection that was idle.
    if (this.#wasStale) this.#connections.closeIdle()
    this.#wasStale = false
    try {
      const onOpen = (fail: (error: unknown) => void): void => {
        this.#fail = fail
      }
      const outgoing = this.#open(request)
      return await sendRequest(outgoing, request, read, this.#settings, this.#history, this.#signal, onOpen)
    } catch (error) {
      this.#wasStale = error instanceof RetryableError && error.details.stale === true
      throw error
    }
  }

  /** Ends the request in flight, and all later ones, with this error. */
  abort(error: unknown): void {
    this.#aborted = { error }
    this.#fail?.(error)
  }

  /** Closes all connections, unless they are shared. */
  close(): void {
    if (this.#ownsConnections) this.#connections.close()
  }

  #open({ method, url, fields, crossOrigin = false }: TransportRequest): ClientRequest {
    const open = url.protocol === 'https:' ? https().request : http.request
    return open({
      agent: this.#connections.agentFor(url, crossOrigin),
      method,
      host: hostOf(url),
      port: portOf(url),
      path: pathAndQuery(url),
      headers: headersOf(fields),
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
  settings: TransportSettings,
  history: TransportHistory,
  signal: AbortSignal | undefined,
  onOpen: (fail: (error: unknown) => void) => void,
): Promise<T> {
  const limit = settings.attemptLimit?.() ?? Number.POSITIVE_INFINITY
  const sendTimeout = Math.min(settings.sendTimeout, limit)
  const responseTimeout = Math.min(settings.responseTimeout, limit)
  const { url } = request
  let connected = false
  let certificateRequested = false
  let answered = false
  let connectionFailed = false
  /** The rest of the body is not needed. */
  let stopSending = false
  let settled = false
  let sentAt: number | undefined
  let timer: NodeJS.Timeout | undefined
  let abort = (): void => {}

  try {
    return await new Promise<T>((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(error)
        outgoing.destroy()
      }
      const startTimer = (what: string, milliseconds: number, waited = milliseconds): void => {
        clearTimeout(timer)
        // After an abort the reader may still be working on a chunk.
        if (settled || connectionFailed) return
        timer = setTimeout(() => {
          const isSlow = connected && sentAt === undefined && !answered
          fail(new RetryableError('retry', what, { unsent: !connected, isSlow, waited }))
        }, milliseconds)
      }
      // Once the response has begun, its reader reports the failure, after the bytes that have arrived.
      const onConnectionFailed = (cause: unknown): void => {
        if (answered || connectionFailed) return
        connectionFailed = true
        stopSending = true
        clearTimeout(timer)
        const failure = {
          url,
          cause,
          socket: outgoing.socket as TLSSocket | null,
          connected,
          reused: outgoing.reusedSocket,
          hasCertificate: !request.crossOrigin && Boolean(settings.tls.cert ?? settings.tls.pfx),
          certificateRequested,
        }
        connectionError(failure, history, signal).then(fail, fail)
      }
      abort = () => fail(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      onOpen(fail)

      const startSendTimer = (): void =>
        startTimer(`Nothing could be sent for ${sendTimeout} ms`, sendTimeout)
      startSendTimer()
      outgoing
        .on('socket', (socket) => {
          connected = outgoing.reusedSocket
          if (connected) return
          const secure = url.protocol === 'https:'
          socket.once(secure ? 'secureConnect' : 'connect', () => {
            connected = true
            if (secure) certificateRequested = requestedCertificate(socket as TLSSocket)
          })
        })
        .on('error', onConnectionFailed)
        .on('close', () => onConnectionFailed(undefined))
        .on('finish', () => {
          sentAt = performance.now()
          if (!answered) startTimer(`There was no answer for ${responseTimeout} ms`, responseTimeout)
        })
        .on('response', (response) => {
          answered = true
          history.answered.add(url.origin)
          stopSending = true
          read(
            response,
            chunksOf(response, {
              limit: responseTimeout,
              waited: sentAt === undefined ? 0 : performance.now() - sentAt,
              minRate: request.minResponseRate,
              onWait: (remaining) =>
                startTimer(`The answer did not end within ${responseTimeout} ms`, remaining, responseTimeout),
              onChunk: () => clearTimeout(timer),
            }),
          ).then((result) => {
            // A connection with unsent bytes of the request or unread bytes of the response cannot be used
            // again.
            if (!outgoing.writableEnded || !response.complete) outgoing.destroy()
            resolve(result)
          }, fail)
        })
      writeBody(outgoing, request, { shouldStop: () => stopSending, progress: startSendTimer }).catch(fail)
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

interface ChunkOptions {
  /** Milliseconds to wait for the head and the chunks, in total. */
  readonly limit: number
  /** Milliseconds of these that have passed until the head. */
  readonly waited: number
  /** Each chunk extends the time by its length at this rate, up to `limit`. */
  readonly minRate: number | undefined
  /** Called with the milliseconds that remain. */
  readonly onWait: (remaining: number) => void
  readonly onChunk: () => void
}

/**
 * The chunks of a body. The time runs only while the next chunk is missing, not while the reader works on
 * one.
 */
async function* chunksOf(
  response: IncomingMessage,
  { limit, waited, minRate, onWait, onChunk }: ChunkOptions,
): AsyncGenerator<Buffer> {
  let remaining = Math.max(1, limit - waited)
  try {
    let waitingSince = performance.now()
    onWait(remaining)
    for await (const chunk of response) {
      onChunk()
      const extension = minRate === undefined ? 0 : (chunk.length / minRate) * 1000
      remaining = Math.min(limit, remaining - (performance.now() - waitingSince) + extension)
      yield chunk
      waitingSince = performance.now()
      onWait(Math.max(1, remaining))
    }
  } catch (cause) {
    throw new RetryableError('retry', 'The connection broke during the answer', { cause })
  }
}

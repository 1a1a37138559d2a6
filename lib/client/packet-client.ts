import type { IncomingMessage } from 'node:http'
import { BitsPost, field, UploadProtocol } from '../protocol/headers.ts'
import {
  type HttpResponse,
  InvalidAck,
  isAck,
  type ParsedAck,
  readAck,
  readError,
  readOffset,
} from './ack.ts'
import { Authenticator, type Credentials } from './auth.ts'
import { UploadError } from './errors.ts'
import { type CallerFields, type OutgoingPacket, packetFields, requestFields } from './packet.ts'
import {
  classifyResponse,
  describeTemporaryResponse,
  type RequestKind,
  type ResponseSummary,
  RetryableError,
  responseError,
} from './response-policy.ts'
import type { ClientSession } from './session.ts'
import {
  type HttpTransport,
  isFramed,
  pathAndQuery,
  type Reader,
  type TransportRequest,
} from './transport.ts'

export interface PacketClientSettings {
  /** URL of the uploaded file, as the caller wrote it. */
  readonly destination: URL
  readonly extras: CallerFields
  /** Undefined: a 401 is final. */
  readonly auth: Credentials | undefined
}

/**
 * How the method of a packet is sent.
 * - `verb`: `BITS_POST`
 * - `override`: POST with `X-HTTP-Method-Override: BITS_POST`, for proxies that refuse the method
 */
export type MethodStyle = 'verb' | 'override'

export interface PacketRequest {
  readonly packet: OutgoingPacket
  readonly url: URL
  /** Default: `verb`. */
  readonly methodStyle?: MethodStyle
  /** Called with the length of each chunk of the body, when the system has taken it. */
  readonly onSent?: (bytes: number) => void
}

export interface GetRequest {
  /** Default: `GET`. */
  readonly method?: 'GET' | 'HEAD'
  readonly url: URL
  /** Fields beside those that every GET has. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** The server is not that of the destination: it gets no credentials and none of the caller's fields. */
  readonly crossOrigin?: boolean
}

/**
 * Bytes per second below which the download of a reply fails: the largest reply then ends in bounded time. A
 * modem of 1995 was three times as fast.
 */
const MinReplyRate = 1024

/** Bytes of a body that are read to keep the connection: an error page may be that long. */
const MaxDrained = 64 * 1024

/** Sends packets and GET requests, with credentials once the server asks for them. */
export class PacketClient {
  readonly #transport: HttpTransport
  readonly #settings: PacketClientSettings
  /** By origin: the challenge of one server says nothing about another. */
  readonly #authenticators = new Map<string, Authenticator>()

  constructor(transport: HttpTransport, settings: PacketClientSettings) {
    this.#transport = transport
    this.#settings = settings
  }

  /**
   * Sends a packet and reads its Ack.
   * @throws {RetryableError} if the packet, or another one in its place, can be sent again
   * @throws {UploadError} if the response is final
   */
  async send(packet: OutgoingPacket, url: URL, onSent?: (bytes: number) => void): Promise<ParsedAck> {
    const response = await this.exchange({ packet, url, ...(onSent && { onSent }) }, drainResponse)
    const failure = failureOf(packet.type, response)
    if (failure) throw failure
    return parseAck(packet, response)
  }

  /**
   * Fetches a reply or a part of it. `read` gets only responses 200, 206 and 416. Throws as {@link send}
   * does.
   */
  get<T>(request: GetRequest, read: Reader<T>): Promise<T> {
    // The application may name any server for a reply.
    const crossOrigin = request.url.origin !== this.#settings.destination.origin
    return this.exchange({ ...request, crossOrigin }, async (response, chunks) => {
      const { statusCode: status = 0, headers } = response
      const failure = failureOf('Reply', { status, headers })
      if (!failure) return read(response, chunks)
      await drainResponse(response, chunks)
      throw failure
    })
  }

  /**
   * Sends a request, and a second time with credentials if the server asks for them.
   * @param read gets the last response, whatever its status
   */
  async exchange<T>(request: PacketRequest | GetRequest, read: Reader<T>): Promise<T> {
    const { url } = request
    const requestKind = 'packet' in request ? request.packet.type : 'Reply'
    const method = methodOf(request)
    const authenticator = this.#authenticatorOf(request)
    for (let repeated = false; ; repeated = true) {
      const authorization = authenticator?.authorization(method, pathAndQuery(url))
      const content = contentOf(request, this.#callerFields(authorization))
      const result = await this.#transport.request({ method, url, ...content }, async (response, chunks) => {
        const { statusCode: status = 0, headers } = response
        const isChallenge =
          status === 401 &&
          classifyResponse(summarize(requestKind, { status, headers })) === 'authenticate' &&
          authenticator?.challenged(field(headers, 'www-authenticate'), authorization !== undefined)
        if (repeated || !isChallenge) return { value: await read(response, chunks) }
        if (isFramed(headers)) await drainResponse(response, chunks)
        return undefined
      })
      if (result) return result.value
    }
  }

  #callerFields(authorization: string | undefined): CallerFields {
    const { name, headers } = this.#settings.extras
    return { name, headers: authorization ? [...headers, ['Authorization', authorization]] : headers }
  }

  #authenticatorOf(request: PacketRequest | GetRequest): Authenticator | undefined {
    const { auth } = this.#settings
    if (!auth || ('crossOrigin' in request && request.crossOrigin)) return undefined
    const { origin } = request.url
    const authenticator = this.#authenticators.get(origin) ?? new Authenticator(auth)
    this.#authenticators.set(origin, authenticator)
    return authenticator
  }
}

function methodOf(request: PacketRequest | GetRequest): string {
  if (!('packet' in request)) return request.method ?? 'GET'
  return request.methodStyle === 'override' ? 'POST' : BitsPost
}

function contentOf(
  request: PacketRequest | GetRequest,
  { name, headers }: CallerFields,
): Omit<TransportRequest, 'method' | 'url'> {
  const { host } = request.url
  if (!('packet' in request)) {
    const { fields, crossOrigin = false } = request
    const common = [['Accept', '*/*'] as const, ['Accept-Encoding', 'identity'] as const]
    return {
      fields: [...common, ...fields, ...requestFields(host, crossOrigin ? [] : headers)],
      crossOrigin,
      minResponseRate: MinReplyRate,
    }
  }
  const { packet, methodStyle, onSent } = request
  const override = methodStyle === 'override' ? [['X-HTTP-Method-Override', BitsPost] as const] : []
  return {
    fields: packetFields(packet, host, { name, headers: [...override, ...headers] }),
    ...(packet.type === 'Fragment' && { body: packet.range.read() }),
    ...(onSent && { onSent }),
  }
}

type ResponseHead = Pick<HttpResponse, 'status' | 'headers'>

const summarize = (requestKind: RequestKind, { status, headers }: ResponseHead): ResponseSummary => ({
  requestKind,
  status,
  isAck: isAck(headers),
  ...readError(headers),
})

/** What to throw for a response; undefined if it is a success. */
function failureOf(requestKind: RequestKind, head: ResponseHead): RetryableError | UploadError | undefined {
  const summary = summarize(requestKind, head)
  const action = classifyResponse(summary)
  if (action === 'accept') return undefined
  if (action === 'fatal' || action === 'authenticate') return responseError(summary)
  return new RetryableError(action, describeTemporaryResponse(summary), {
    ...summary,
    refused: isAck(head.headers),
  })
}

function parseAck(packet: OutgoingPacket, response: HttpResponse): ParsedAck {
  const { status } = response
  let ack: ParsedAck
  try {
    ack = readAck(packet.type, response, 'sessionId' in packet ? packet.sessionId : undefined)
  } catch (error) {
    if (!(error instanceof InvalidAck)) throw error
    if (packet.type === 'Fragment' && status === 416 && readOffset(response.headers) === undefined) {
      const reason = 'Fragment was answered 416 without the offset that the server expects'
      throw new RetryableError('offset-unknown', reason, { status })
    }
    // Once a session exists there is a BITS server at this URL: a response that is no Ack came from a proxy.
    const malformed = error.hasAckHeader || packet.type === 'Create-Session'
    throw new RetryableError('retry', `An answer was discarded: ${error.message}`, { status, malformed })
  }
  if (ack.protocol && ack.protocol !== UploadProtocol) {
    throw new UploadError('protocol-mismatch', `The server chose ${ack.protocol}.`, { status })
  }
  return ack
}

/** Counts the bytes of a body and discards them, up to 64 KB: above that the connection is closed. */
export async function drainResponse(
  response: IncomingMessage,
  chunks: AsyncIterable<Buffer>,
): Promise<HttpResponse> {
  let bodyLength = 0
  for await (const chunk of chunks) {
    bodyLength += chunk.length
    if (bodyLength > MaxDrained) break
  }
  return { status: response.statusCode ?? 0, headers: response.headers, bodyLength }
}

/**
 * Sends Close-Session, and records in the session that it may have been carried out. A server forgets a
 * session that has ended; if the client does not know that it has ended, it sends the whole file again.
 * @param save saves the session; called before the packet is sent, because the process may end with it
 */
export async function closeRemoteSession(
  session: ClientSession,
  send: () => Promise<unknown>,
  save: () => Promise<void>,
): Promise<void> {
  const sentBefore = session.closeSent === true
  session.closeSent = true
  await save()
  try {
    await send()
  } catch (error) {
    // The first Close-Session was carried out, and its Ack was lost.
    if (sentBefore && error instanceof RetryableError && error.reason === 'session-lost') return
    session.closeSent = sentBefore || mayBeDone(error)
    await save()
    throw error
  }
}

/**
 * Whether the failed packet may have been carried out: not if the server refused it, or it was never sent.
 */
const mayBeDone = (error: unknown): boolean =>
  error instanceof RetryableError
    ? !error.details.refused && !error.details.unsent
    : !(error instanceof UploadError)

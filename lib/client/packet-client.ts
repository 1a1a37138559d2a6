import type { IncomingMessage } from 'node:http'
import { BitsPost, field, UploadProtocol } from '../protocol/headers.ts'
import { type HttpResponse, InvalidAck, isAck, type ParsedAck, readAck, readError } from './ack.ts'
import { Authenticator, type Credentials } from './auth.ts'
import { UploadError } from './errors.ts'
import { type CallerFields, type OutgoingPacket, packetFields, requestFields } from './packet.ts'
import {
  classifyResponse,
  describeResponse,
  type RequestKind,
  RetryableError,
  responseError,
} from './response-policy.ts'
import type { ClientSession } from './session.ts'
import { type HttpTransport, pathAndQuery, type Reader } from './transport.ts'

export interface PacketClientSettings {
  /** The URL that the upload is to have, as the caller wrote it. */
  readonly destination: URL
  readonly extras: CallerFields
  readonly auth: Credentials | undefined
}

/** What a GET asks for, beyond what all of them do. */
export interface GetRequest {
  readonly url: URL
  readonly fields: readonly (readonly [name: string, value: string])[]
}

/** Bytes of an answer's body that are read away to keep its connection: an error's page may be that long. */
const MaxDrained = 64 * 1024

/** Requests and answers, as packets and Acks; credentials are sent to whoever may ask for them. */
export class PacketClient {
  readonly #transport: HttpTransport
  readonly #settings: PacketClientSettings
  /** By origin: what one server asked for is not told to another. */
  readonly #authenticators = new Map<string, Authenticator>()

  constructor(transport: HttpTransport, settings: PacketClientSettings) {
    this.#transport = transport
    this.#settings = settings
  }

  /**
   * Sends a packet.
   * @throws {RetryableError} for what is to be tried again, in whatever way
   * @throws {UploadError} for an answer that is final
   */
  async send(packet: OutgoingPacket, url: URL, onSent?: (bytes: number) => void): Promise<ParsedAck> {
    const answer = await this.#requestWithAuth(
      packet.type,
      BitsPost,
      url,
      drainResponse,
      true,
      (authorization) => ({
        fields: packetFields(packet, url.host, this.#extras(authorization)),
        ...(packet.type === 'Fragment' && { body: packet.range.read() }),
        ...(onSent && { onSent }),
      }),
    )
    return this.#read(packet, answer)
  }

  /** Fetches, part of, a reply; only 200, 206 and 416 get to the reader. Throws as `say` does. */
  get<T>({ url, fields }: GetRequest, read: Reader<T>): Promise<T> {
    // Static replies stand where the application says: other servers get neither credentials nor the caller's fields.
    const sameOrigin = url.origin === this.#settings.destination.origin
    const reader: Reader<T> = (response, chunks) => read(response, chunks)
    return this.#requestWithAuth('Reply', 'GET', url, reader, sameOrigin, (authorization) => ({
      fields: [
        ['Accept', '*/*'],
        ['Accept-Encoding', 'identity'],
        ...fields,
        ...requestFields(url.host, sameOrigin ? this.#extras(authorization).headers : []),
      ],
      crossOrigin: !sameOrigin,
    }))
  }

  /** Sends a request, and once more with credentials if they are asked for. */
  async #requestWithAuth<T>(
    requestKind: RequestKind,
    method: string,
    url: URL,
    read: Reader<T>,
    sameOrigin: boolean,
    rest: (
      authorization: string | undefined,
    ) => Omit<Parameters<HttpTransport['request']>[0], 'method' | 'url'>,
  ): Promise<T> {
    const authenticator = sameOrigin ? this.#authenticatorOf(url.origin) : undefined
    for (let repeated = false; ; repeated = true) {
      const authorization = authenticator?.authorization(method, pathAndQuery(url))
      const result = await this.#transport.request(
        { method, url, ...rest(authorization) },
        async (response, chunks) => {
          const summary = { requestKind, status: response.statusCode ?? 0, ...readError(response.headers) }
          const verdict = classifyResponse(summary)
          if (verdict === 'accept') return { accepted: await read(response, chunks) }
          await drainResponse(response, chunks)
          if (verdict === 'fatal') throw responseError(summary)
          if (verdict !== 'authenticate') {
            throw new RetryableError(verdict, describeResponse(summary), {
              ...summary,
              refused: isAck(response.headers),
            })
          }
          const challenge = field(response.headers, 'www-authenticate')
          const worth = authenticator?.challenged(challenge, authorization !== undefined)
          if (repeated || !worth) throw responseError(summary)
          return undefined
        },
      )
      if (result) return result.accepted
    }
  }

  #extras(authorization: string | undefined): CallerFields {
    const { name, headers } = this.#settings.extras
    return { name, headers: authorization ? [...headers, ['Authorization', authorization]] : headers }
  }

  #authenticatorOf(origin: string): Authenticator | undefined {
    const { auth } = this.#settings
    if (!auth) return undefined
    const authenticator = this.#authenticators.get(origin) ?? new Authenticator(auth)
    this.#authenticators.set(origin, authenticator)
    return authenticator
  }

  #read(packet: OutgoingPacket, answer: HttpResponse): ParsedAck {
    let ack: ParsedAck
    try {
      ack = readAck(packet.type, answer, 'sessionId' in packet ? packet.sessionId : undefined)
    } catch (error) {
      if (!(error instanceof InvalidAck)) throw error
      // Where a session began once there is a server: what is no Ack at all was somebody's in between.
      const wrong = error.hasAckHeader || packet.type === 'Create-Session'
      throw new RetryableError('retry', `An answer was discarded: ${error.message}`, {
        status: answer.status,
        malformed: wrong,
      })
    }
    if (ack.protocol && ack.protocol !== UploadProtocol) {
      throw new UploadError('protocol-mismatch', `It chose ${ack.protocol}.`, { status: answer.status })
    }
    return ack
  }
}

async function drainResponse(
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
 * Says Close-Session, and remembers that it may have been carried out, so that the next one knows: a session that ends is
 * forgotten, and to begin anew would send the whole file again.
 * @param save saves the session; before the packet leaves, for the process may end with it
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
    // The first one was carried out, and its Ack lost.
    if (sentBefore && error instanceof RetryableError && error.reason === 'session-lost') return
    session.closeSent = sentBefore || mayBeDone(error)
    await save()
    throw error
  }
}

/** Whether a packet may have been carried out that ended so: not if the server refused it, or it never left. */
const mayBeDone = (error: unknown): boolean =>
  error instanceof RetryableError
    ? !error.details.refused && !error.details.unsent
    : !(error instanceof UploadError)

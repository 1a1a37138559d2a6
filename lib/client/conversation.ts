import type { IncomingMessage } from 'node:http'
import { BitsPost, field, UploadProtocol } from '../protocol/headers.ts'
import { type Answer, InvalidAck, isAck, readAck, readError, type ServerAck } from './ack.ts'
import { Authenticator, type Credentials } from './auth.ts'
import { UploadError } from './errors.ts'
import { type Extras, type OutgoingPacket, packetFields, requestFields } from './packet.ts'
import { Setback } from './setback.ts'
import { type Asked, describe, judge, refusal } from './verdict.ts'
import { type Reader, targetOf, type Wire } from './wire.ts'

export interface ConversationSettings {
  /** The URL that the upload is to have, as the caller wrote it. */
  readonly destination: URL
  readonly extras: Extras
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
export class Conversation {
  readonly #wire: Wire
  readonly #settings: ConversationSettings
  /** By origin: what one server asked for is not told to another. */
  readonly #authenticators = new Map<string, Authenticator>()

  constructor(wire: Wire, settings: ConversationSettings) {
    this.#wire = wire
    this.#settings = settings
  }

  /**
   * Sends a packet.
   * @throws {Setback} for what is to be tried again, in whatever way
   * @throws {UploadError} for an answer that is final
   */
  async say(packet: OutgoingPacket, url: URL, onSent?: (bytes: number) => void): Promise<ServerAck> {
    const answer = await this.#ask(packet.type, BitsPost, url, drained, true, (authorization) => ({
      fields: packetFields(packet, url.host, this.#extras(authorization)),
      ...(packet.type === 'Fragment' && { body: packet.piece.read() }),
      ...(onSent && { onSent }),
    }))
    return this.#read(packet, answer)
  }

  /** Fetches, part of, a reply; only 200, 206 and 416 get to the reader. Throws as `say` does. */
  get<T>({ url, fields }: GetRequest, read: Reader<T>): Promise<T> {
    // Static replies stand where the application says: other servers get neither credentials nor the caller's fields.
    const trusted = url.origin === this.#settings.destination.origin
    const reader: Reader<T> = (response, chunks) => read(response, chunks)
    return this.#ask('Reply', 'GET', url, reader, trusted, (authorization) => ({
      fields: [
        ['Accept', '*/*'],
        ['Accept-Encoding', 'identity'],
        ...fields,
        ...requestFields(url.host, trusted ? this.#extras(authorization).headers : []),
      ],
      stranger: !trusted,
    }))
  }

  /** Sends a request, and once more with credentials if they are asked for. */
  async #ask<T>(
    asked: Asked,
    method: string,
    url: URL,
    read: Reader<T>,
    trusted: boolean,
    rest: (authorization: string | undefined) => Omit<Parameters<Wire['exchange']>[0], 'method' | 'url'>,
  ): Promise<T> {
    const authenticator = trusted ? this.#authenticatorOf(url.origin) : undefined
    for (let repeated = false; ; repeated = true) {
      const authorization = authenticator?.authorization(method, targetOf(url))
      const result = await this.#wire.exchange(
        { method, url, ...rest(authorization) },
        async (response, chunks) => {
          const judged = { asked, status: response.statusCode ?? 0, ...readError(response.headers) }
          const verdict = judge(judged)
          if (verdict === 'accept') return { accepted: await read(response, chunks) }
          await drained(response, chunks)
          if (verdict === 'fatal') throw refusal(judged)
          if (verdict !== 'authenticate') {
            throw new Setback(verdict, describe(judged), { ...judged, refused: isAck(response.headers) })
          }
          const challenge = field(response.headers, 'www-authenticate')
          const worth = authenticator?.challenged(challenge, authorization !== undefined)
          if (repeated || !worth) throw refusal(judged)
          return undefined
        },
      )
      if (result) return result.accepted
    }
  }

  #extras(authorization: string | undefined): Extras {
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

  #read(packet: OutgoingPacket, answer: Answer): ServerAck {
    let ack: ServerAck
    try {
      ack = readAck(packet.type, answer, 'sessionId' in packet ? packet.sessionId : undefined)
    } catch (error) {
      if (!(error instanceof InvalidAck)) throw error
      // Where a session began once there is a server: what is no Ack at all was somebody's in between.
      const wrong = error.saidAck || packet.type === 'Create-Session'
      throw new Setback('retry', `An answer was discarded: ${error.message}`, {
        status: answer.status,
        wrong,
      })
    }
    if (ack.protocol && ack.protocol !== UploadProtocol) {
      throw new UploadError('protocol-mismatch', `It chose ${ack.protocol}.`, { status: answer.status })
    }
    return ack
  }
}

async function drained(response: IncomingMessage, chunks: AsyncIterable<Buffer>): Promise<Answer> {
  let bodyLength = 0
  for await (const chunk of chunks) {
    bodyLength += chunk.length
    if (bodyLength > MaxDrained) break
  }
  return { status: response.statusCode ?? 0, headers: response.headers, bodyLength }
}

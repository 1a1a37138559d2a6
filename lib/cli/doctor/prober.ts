import type { IncomingMessage } from 'node:http'
import { type HttpResponse, readError } from '../../client/ack.ts'
import { Authenticator } from '../../client/auth.ts'
import { UploadError } from '../../client/errors.ts'
import type { CommonSettings } from '../../client/options.ts'
import { type OutgoingPacket, packetFields, requestFields } from '../../client/packet.ts'
import { RetryableError } from '../../client/response-policy.ts'
import { HttpTransport, pathAndQuery, type TransportRequest } from '../../client/transport.ts'
import { BitsPost, field, PacketTypeHeader } from '../../protocol/headers.ts'

/** An answer as it came, before anybody judges it. */
export interface RawResponse extends HttpResponse {
  /** Of its status line: `1.1`. */
  readonly httpVersion: string
  /** 0x8020001F and the like, if it has one. */
  readonly hresult: number | undefined
}

/** Nobody answered, or what came was not HTTP. The message says what happened instead. */
export class NoResponse extends Error {
  override readonly name = 'NoAnswer'
  /** Whether it may have been the end of a kept connection only. */
  readonly stale: boolean

  constructor({ message, cause, stale }: { message: string; cause?: unknown; stale: boolean }) {
    super(message, { cause })
    this.stale = stale
  }
}

/** Bytes of an answer's body that are read, to count them: an Ack has none, and a page of errors may have more. */
const MaxBodyBytes = 64 * 1024

/** `BITS_POST` itself, or a POST that says so, for those in between who refuse the verb. */
export type MethodStyle = 'verb' | 'override'

/** Asks the server, and hands over what comes back, whatever it is. */
export class Prober {
  /** How packets are spelled. */
  methodStyle: MethodStyle = 'verb'
  readonly #transport: HttpTransport
  readonly #settings: CommonSettings
  /** By origin: what one server asked for is not told to another. */
  readonly #authenticators = new Map<string, Authenticator>()

  constructor(settings: CommonSettings) {
    this.#settings = settings
    this.#transport = new HttpTransport(settings, settings.signal)
  }

  /**
   * Sends a packet, and once more with credentials if they are asked for.
   * @throws {NoResponse}
   * @throws what the piece of a Fragment throws while it is read
   */
  send(packet: OutgoingPacket, url: URL): Promise<RawResponse> {
    const override = this.methodStyle === 'override'
    const spelled = override ? [['X-HTTP-Method-Override', BitsPost] as const] : []
    return this.#requestWithAuth(url, override ? 'POST' : BitsPost, (own) => ({
      fields: packetFields(packet, url.host, { name: undefined, headers: [...spelled, ...own] }),
      ...(packet.type === 'Fragment' && { body: packet.range.read() }),
    }))
  }

  /** A part of what stands at a URL, or what there is to say about it. Throws as `say` does. */
  fetch(method: 'GET' | 'HEAD', url: URL, range?: string): Promise<RawResponse> {
    return this.#requestWithAuth(url, method, (own) => ({
      fields: [
        ['Accept', '*/*'],
        ['Accept-Encoding', 'identity'],
        ...(range === undefined ? [] : [['Range', range] as const]),
        ...requestFields(url.host, own),
      ],
    }))
  }

  close(): void {
    this.#transport.close()
  }

  async #requestWithAuth(
    url: URL,
    method: string,
    rest: (own: CommonSettings['headers']) => Pick<TransportRequest, 'fields' | 'body'>,
  ): Promise<RawResponse> {
    const authenticator = this.#authenticatorOf(url.origin)
    for (let repeated = false; ; repeated = true) {
      const authorization = authenticator?.authorization(method, pathAndQuery(url))
      const { headers } = this.#settings
      const own = authorization ? [...headers, ['Authorization', authorization] as const] : headers
      const again = (): Promise<RawResponse> => this.#request({ method, url, ...rest(own) })
      const answer = await again().catch((error) => {
        // A connection that was kept may end in the moment in which it is taken again: that says nothing.
        if (error instanceof NoResponse && error.stale) return again()
        throw error
      })
      if (answer.status !== 401 || repeated) return answer
      const challenge = field(answer.headers, 'www-authenticate')
      if (!authenticator?.challenged(challenge, authorization !== undefined)) return answer
    }
  }

  async #request(request: TransportRequest): Promise<RawResponse> {
    try {
      return await this.#transport.request(request, (response, chunks) =>
        // The answer to a HEAD has the length of a body, and no body.
        readResponse(response, request.method === 'HEAD' ? [] : chunks),
      )
    } catch (error) {
      this.#settings.signal?.throwIfAborted()
      if (error instanceof UploadError)
        throw new NoResponse({ message: error.message, cause: error, stale: false })
      if (!(error instanceof RetryableError)) throw error
      const { cause, details } = error
      throw new NoResponse({ message: describeFailure(error), cause, stale: details.stale === true })
    }
  }

  #authenticatorOf(origin: string): Authenticator | undefined {
    const { auth } = this.#settings
    if (!auth) return undefined
    const authenticator = this.#authenticators.get(origin) ?? new Authenticator(auth)
    this.#authenticators.set(origin, authenticator)
    return authenticator
  }
}

async function readResponse(
  response: IncomingMessage,
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
): Promise<RawResponse> {
  const { statusCode: status = 0, headers, httpVersion } = response
  let bodyLength = 0
  // Without a length, the end of the answer is that of the connection: nobody can wait for it.
  if (isFramed(headers)) {
    for await (const chunk of chunks) {
      bodyLength += chunk.length
      if (bodyLength > MaxBodyBytes) break
    }
  }
  return { status, headers, httpVersion, bodyLength, hresult: readError(headers).hresult }
}

/** For those to whom no answer is one, too. */
export const orNoResponse = (answer: Promise<RawResponse>): Promise<RawResponse | NoResponse> =>
  answer.catch((error) => {
    if (error instanceof NoResponse) return error
    throw error
  })

/** Whether it can be told where an answer ends, and the next one begins. */
export const isFramed = (headers: HttpResponse['headers']): boolean =>
  headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined

/** Whether an answer is that of a BITS server, whatever it says. */
export const isAck = ({ headers }: HttpResponse): boolean =>
  field(headers, PacketTypeHeader)?.trim().toLowerCase() === 'ack'

/** Whether it is the Ack of a packet that was taken. */
export const isSuccess = (answer: HttpResponse): boolean =>
  isAck(answer) && (answer.status === 200 || answer.status === 201)

function describeFailure({ message, cause }: RetryableError): string {
  const { code = '' } = (cause ?? {}) as NodeJS.ErrnoException
  if (/^HPE_/.test(code)) return `what came back is not HTTP (${code})`
  if (/^ERR_SSL_.*(?:CERTIFICATE|HANDSHAKE)/.test(code)) {
    return `the server wants another certificate of its client, or any (${code})`
  }
  if (code === 'ECONNRESET' || code === 'EPIPE' || cause === undefined) {
    return /^The connection/.test(message) ? 'the connection was closed without an answer' : message
  }
  return message
}

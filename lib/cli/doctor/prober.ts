import { type HttpResponse, isAck, readError } from '../../client/ack.ts'
import { UploadError } from '../../client/errors.ts'
import type { CommonSettings } from '../../client/options.ts'
import type { OutgoingPacket } from '../../client/packet.ts'
import {
  drainResponse,
  type GetRequest,
  type MethodStyle,
  PacketClient,
  type PacketRequest,
} from '../../client/packet-client.ts'
import { RetryableError } from '../../client/response-policy.ts'
import { HttpTransport, isFramed, type Reader } from '../../client/transport.ts'

/** A response, whatever its status. */
export interface RawResponse extends HttpResponse {
  /** HTTP version of the status line: `1.1`. */
  readonly httpVersion: string
  /** 0x8020001F for example; undefined if the response has no error header. */
  readonly hresult: number | undefined
}

/** The request got no HTTP response. The message says what happened instead. */
export class NoResponse extends Error {
  override readonly name = 'NoResponse'
  /** The packet type, or the method of a request for a reply. */
  readonly request: string

  constructor(request: string, message: string, cause: unknown) {
    super(message, { cause })
    this.request = request
  }
}

/**
 * Sends the requests of the checks. Reports each response, also one that the client would retry or refuse.
 */
export class Prober {
  /** How packets are sent from now on. */
  methodStyle: MethodStyle = 'verb'
  readonly #transport: HttpTransport
  readonly #packetClient: PacketClient
  readonly #signal: AbortSignal | undefined

  constructor(destination: URL, settings: CommonSettings) {
    const { auth, headers, signal } = settings
    this.#transport = new HttpTransport(settings, signal)
    const extras = { name: undefined, headers }
    this.#packetClient = new PacketClient(this.#transport, { destination, extras, auth })
    this.#signal = signal
  }

  /**
   * Sends a packet.
   * @throws {NoResponse}
   * @throws errors of reading the Fragment's bytes
   */
  send(packet: OutgoingPacket, url: URL): Promise<RawResponse> {
    return this.#exchange({ packet, url, methodStyle: this.methodStyle })
  }

  /** Sends GET or HEAD. @throws {NoResponse} */
  fetch(request: GetRequest): Promise<RawResponse> {
    return this.#exchange(request)
  }

  close(): void {
    this.#transport.close()
  }

  async #exchange(request: PacketRequest | GetRequest): Promise<RawResponse> {
    const attempt = () => this.#packetClient.exchange(request, readRawResponse)
    try {
      return await attempt().catch((error) => {
        // The server may close a kept connection at the moment at which it is used again. That is no fault.
        if (error instanceof RetryableError && error.details.stale) return attempt()
        throw error
      })
    } catch (error) {
      this.#signal?.throwIfAborted()
      throw toNoResponse('packet' in request ? request.packet.type : (request.method ?? 'GET'), error)
    }
  }
}

const readRawResponse: Reader<RawResponse> = async (response, chunks) => {
  const { statusCode: status = 0, headers, httpVersion } = response
  // A body without a length ends with the connection, which may stay open.
  const { bodyLength } = isFramed(headers) ? await drainResponse(response, chunks) : { bodyLength: 0 }
  return { status, headers, httpVersion, bodyLength, hresult: readError(headers).hresult }
}

/** Returns {@link NoResponse} instead of throwing it. */
export const orNoResponse = (response: Promise<RawResponse>): Promise<RawResponse | NoResponse> =>
  response.catch((error) => {
    if (error instanceof NoResponse) return error
    throw error
  })

/** Whether a response is the Ack of a packet that succeeded. */
export const isSuccessAck = ({ status, headers }: HttpResponse): boolean =>
  isAck(headers) && (status === 200 || status === 201)

function toNoResponse(request: string, error: unknown): unknown {
  if (error instanceof UploadError) {
    const text = error.code === 'tls-failed' ? error.detail : undefined
    return new NoResponse(request, text?.replace(/\.$/, '') ?? error.message, error)
  }
  if (!(error instanceof RetryableError)) return error
  return new NoResponse(request, describeFailure(error), error.cause)
}

function describeFailure({ message, cause }: RetryableError): string {
  const { code = '' } = (cause ?? {}) as NodeJS.ErrnoException
  if (/^HPE_/.test(code)) return `the answer is not HTTP (${code})`
  if (message.includes('client certificate')) return message
  if (code === 'ECONNRESET' || code === 'EPIPE' || cause === undefined) {
    return /^The connection/.test(message) ? 'the connection was closed without an answer' : message
  }
  return message
}

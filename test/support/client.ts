import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request,
} from 'node:http'
import { onTestFinished } from 'vitest'
import { UploadProtocol } from '../../lib/protocol/headers.ts'

/** A complete HTTP response. */
export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

/** The offset in BITS-Received-Content-Range; NaN if the field is missing. */
export const received = ({ headers }: Answer): number =>
  Number(headers['bits-received-content-range'] ?? Number.NaN)

/** The HRESULT of an error Ack, as text: the field BITS-Error-Code. */
export const hresult = ({ headers }: Answer): unknown => headers['bits-error-code']

export interface PacketOptions {
  readonly headers?: OutgoingHttpHeaders
  readonly body?: Uint8Array | string
  readonly method?: string
  readonly agent?: Agent
}

/** Starts a request without ending it, for tests that abort it or send its body slowly. */
export function begin(url: URL, type: string | undefined, options: PacketOptions = {}): ClientRequest {
  const { headers = {}, method = 'BITS_POST', agent } = options
  return request(url, {
    method,
    ...(agent ? { agent } : { agent: false }),
    headers: { ...(type !== undefined && { 'BITS-Packet-Type': type }), ...headers },
  })
}

/** Waits for the complete response to a request. */
export function answerTo(outgoing: ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          rawHeaders: response.rawHeaders,
          body: Buffer.concat(chunks),
        }),
      )
    })
  })
}

/** Sends a packet as Windows does: every packet has a Content-Length. */
export function send(url: URL, type: string | undefined, options: PacketOptions = {}): Promise<Answer> {
  const body =
    typeof options.body === 'string' ? Buffer.from(options.body) : (options.body ?? Buffer.alloc(0))
  const outgoing = begin(url, type, {
    ...options,
    headers: { 'Content-Length': body.length, ...options.headers },
  })
  const answer = answerTo(outgoing)
  outgoing.end(body)
  return answer
}

/** A client with one persistent connection and one destination. */
export class TestClient {
  readonly url: URL
  readonly agent = new Agent({ keepAlive: true, maxSockets: 1 })
  /** Sent with every packet. */
  readonly headers: OutgoingHttpHeaders
  sessionId = ''

  constructor(url: URL, headers: OutgoingHttpHeaders = {}) {
    this.url = url
    this.headers = headers
    onTestFinished(() => this.agent.destroy())
  }

  send(type: string, options: PacketOptions = {}): Promise<Answer> {
    return send(this.url, type, {
      agent: this.agent,
      ...options,
      headers: { ...this.headers, ...options.headers },
    })
  }

  ping(): Promise<Answer> {
    return this.send('Ping')
  }

  async create(headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    const answer = await this.send('Create-Session', {
      headers: { 'BITS-Supported-Protocols': UploadProtocol, ...headers },
    })
    this.sessionId = String(answer.headers['bits-session-id'] ?? '')
    return answer
  }

  /** The header fields of a fragment: `length` bytes from offset `first` of a file of `total` bytes. */
  range(first: number, length: number, total: number): OutgoingHttpHeaders {
    return {
      ...this.headers,
      'BITS-Session-Id': this.sessionId,
      'Content-Range': `bytes ${first}-${first + length - 1}/${total}`,
      'Content-Length': length,
    }
  }

  fragment(first: number, body: Uint8Array, total: number, options: PacketOptions = {}): Promise<Answer> {
    const headers = { ...this.range(first, body.length, total), ...options.headers }
    return this.send('Fragment', { ...options, body, headers })
  }

  close(): Promise<Answer> {
    return this.send('Close-Session', { headers: { 'BITS-Session-Id': this.sessionId } })
  }

  cancel(): Promise<Answer> {
    return this.send('Cancel-Session', { headers: { 'BITS-Session-Id': this.sessionId } })
  }
}

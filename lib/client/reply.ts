import type { IncomingMessage } from 'node:http'
import { field, type HeaderFields } from '../protocol/headers.ts'
import { UploadError } from './errors.ts'
import type { PacketClient } from './packet-client.ts'
import type { UploadReply } from './progress.ts'
import type { ReplySink } from './reply-sink.ts'

/** Bytes of one range request. A failed connection loses less than that, because received bytes are kept. */
const ReplyRangeBytes = 4 * 1024 * 1024
/** Times that a reply may change while it is fetched. */
const MaxReplyRestarts = 5

/**
 * Resolves the value of BITS-Reply-URL. IIS writes a path relative to the destination, with backslashes and
 * raw braces. The reply is fetched from the original host, not from that of the Host-Id ([MC-BUP] 4.2).
 * @throws {UploadError} `reply-invalid`
 */
export function resolveReplyUrl(reference: string, destination: URL): URL {
  // The URL class converts backslashes to slashes, and escapes braces.
  const url = URL.canParse(reference, destination.href) ? new URL(reference, destination) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) throw invalidReply(`Its URL is ${reference}.`)
  if (destination.protocol === 'https:' && url.protocol !== 'https:') {
    throw invalidReply(`The upload uses https, and ${url} does not.`)
  }
  if (url.username || url.password) throw invalidReply('Its URL contains credentials.')
  return url
}

const invalidReply = (detail: string): UploadError => new UploadError('reply-invalid', detail)

/** Properties that distinguish two versions of a reply. */
interface ReplyVersion {
  readonly total: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

/**
 * Fetches a reply in ranges. After a failure, the next call of `fetch()` resumes at the first missing byte.
 */
export class ReplyDownload {
  readonly url: URL
  readonly #packetClient: PacketClient
  readonly #sink: ReplySink
  readonly #maxSize: number
  readonly #onProgress: (bytes: number) => void
  #version: ReplyVersion | undefined
  #restarts = 0
  #finished = false
  /** Bytes that were written to the sink. */
  received = 0
  /** The complete reply, if the sink is memory. */
  data: Buffer | undefined

  /** @param onProgress called with the length of each chunk */
  constructor(
    url: URL,
    packetClient: PacketClient,
    sink: ReplySink,
    { maxSize, onProgress }: { readonly maxSize: number; readonly onProgress: (bytes: number) => void },
  ) {
    this.url = url
    this.#packetClient = packetClient
    this.#sink = sink
    this.#maxSize = maxSize
    this.#onProgress = onProgress
  }

  /**
   * Fetches the missing bytes, if any. @throws as {@link PacketClient.get}; it can be called again after that
   */
  async fetch(): Promise<void> {
    if (this.#finished) return
    while (this.#version === undefined || this.received < this.#version.total) {
      const fields: [string, string][] = [
        ['Range', `bytes=${this.received}-${this.received + ReplyRangeBytes - 1}`],
      ]
      const validator = this.#validator()
      // If the reply has changed, the server sends the complete new one.
      if (this.received > 0 && validator) fields.unshift(['If-Range', validator])
      await this.#packetClient.get({ url: this.url, fields }, (response, chunks) =>
        this.#readRange(response, chunks),
      )
    }
    this.data = await this.#sink.finish()
    this.#finished = true
  }

  /** The complete reply, as the caller gets it. */
  result(): UploadReply {
    return { url: this.url.href, size: this.received, ...(this.data && { data: this.data }) }
  }

  /** A weak ETag does not guarantee identical bytes (RFC 9110 13.1.5). */
  #validator(): string | undefined {
    const { etag, lastModified } = this.#version ?? {}
    return etag && !etag.startsWith('W/') ? etag : lastModified
  }

  async #readRange({ statusCode, headers }: IncomingMessage, chunks: AsyncIterable<Buffer>): Promise<void> {
    const range = rangeOf(statusCode ?? 0, headers)
    if (range.total > this.#maxSize) {
      throw new UploadError('reply-too-large', `It has ${range.total} bytes, the limit is ${this.#maxSize}.`)
    }
    const version = { total: range.total, etag: headers.etag, lastModified: headers['last-modified'] }
    const hasChanged = this.#version !== undefined && !isSameVersion(this.#version, version)
    if (hasChanged || (range.first === 0 && this.received > 0)) {
      await this.#restart(version)
      // A range from the middle of another version is useless; a range from byte 0 is not.
      if (range.first > 0) return
    }
    this.#version = version
    if (range.first !== this.received) {
      throw invalidReply(`The server sent byte ${range.first} instead of byte ${this.received}.`)
    }
    for await (const chunk of chunks) {
      await this.#sink.write(chunk)
      this.received += chunk.length
      this.#onProgress(chunk.length)
    }
  }

  /**
   * [MC-BUP] 3.6.5.2.4.2: "If the time stamp changes the client restarts, if the length does it is an error".
   */
  async #restart({ total }: ReplyVersion): Promise<void> {
    this.#restarts += 1
    if (this.#version && this.#version.total !== total) {
      throw new UploadError('reply-changed', `It had ${this.#version.total} bytes, and now has ${total}.`)
    }
    if (this.#restarts > MaxReplyRestarts)
      throw new UploadError('reply-changed', `It changed more than ${MaxReplyRestarts} times.`)
    await this.#sink.restart()
    this.received = 0
    this.#version = undefined
  }
}

const isSameVersion = (a: ReplyVersion, b: ReplyVersion): boolean =>
  a.total === b.total && a.etag === b.etag && a.lastModified === b.lastModified

/** The first byte of a response's body, and the size of the whole reply. */
function rangeOf(status: number, headers: HeaderFields): { readonly first: number; readonly total: number } {
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') throw invalidReply(`It is encoded as ${encoding}.`)
  const range = field(headers, 'content-range')
  const length = Number(field(headers, 'content-length') ?? Number.NaN)
  if (status === 416) {
    // This is the response to a range of an empty reply.
    if (range && /^bytes +\*\/0$/i.test(range)) return { first: 0, total: 0 }
    throw invalidReply('The server does not have the bytes that it announced.')
  }
  // Without Content-Length an incomplete body cannot be detected ([MC-BUP] 3.5.5: MUST).
  if (!Number.isSafeInteger(length)) throw invalidReply('Its response has no Content-Length.')
  if (status !== 206) return { first: 0, total: length }
  const match = /^bytes +(\d+)-(\d+)\/(\d+)$/i.exec(range ?? '')
  const [first, last, total] = (match?.slice(1).map(Number) ?? []) as [number?, number?, number?]
  if (first === undefined || last === undefined || total === undefined || last < first || last >= total) {
    throw invalidReply(`Its Content-Range is ${range ?? 'missing'}.`)
  }
  if (length !== last - first + 1) throw invalidReply('Its Content-Length contradicts its Content-Range.')
  return { first, total }
}

import type { IncomingMessage } from 'node:http'
import { field, type HeaderFields } from '../protocol/headers.ts'
import { UploadError } from './errors.ts'
import type { PacketClient } from './packet-client.ts'
import type { ReplySink } from './reply-sink.ts'

/** Bytes asked for at once: what is lost at most when a line breaks is less, for what came is kept. */
const ReplyRange = 4 * 1024 * 1024
/** How often a reply may change while it is fetched. */
const MaxReplyRestarts = 5

/**
 * Where a reply is. IIS writes a path relative to the destination, with backslashes and raw braces; it is fetched from
 * the original host, not from that of the Host-Id ([MC-BUP] 4.2).
 * @throws {UploadError} `reply-invalid`
 */
export function resolveReplyUrl(reference: string, destination: URL): URL {
  // URL itself makes slashes of backslashes, and escapes braces.
  const url = URL.canParse(reference, destination.href) ? new URL(reference, destination) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) throw invalidReply(`Its URL is ${reference}.`)
  if (destination.protocol === 'https:' && url.protocol !== 'https:') {
    throw invalidReply(`The upload went by https, and ${url} does not.`)
  }
  if (url.username || url.password) throw invalidReply('Its URL has credentials in it.')
  return url
}

const invalidReply = (fact: string): UploadError => new UploadError('reply-invalid', fact)

/** What tells one version of a reply from the next. */
interface Version {
  readonly total: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

/** A reply that is being fetched, in pieces, and goes on after a break where it stopped. */
export class ReplyDownload {
  readonly url: URL
  readonly #conversation: PacketClient
  readonly #sink: ReplySink
  readonly #maxSize: number
  readonly #onProgress: () => void
  #version: Version | undefined
  #restarts = 0
  #finished = false
  /** Bytes that are written. */
  received = 0
  /** All of them, when they are kept in memory. */
  data: Buffer | undefined

  /** @param onProgress told whenever something came */
  constructor(
    url: URL,
    conversation: PacketClient,
    sink: ReplySink,
    { maxSize, onProgress }: { readonly maxSize: number; readonly onProgress: () => void },
  ) {
    this.url = url
    this.#conversation = conversation
    this.#sink = sink
    this.#maxSize = maxSize
    this.#onProgress = onProgress
  }

  /** Fetches what is missing, if anything is. @throws as {@link PacketClient.get} does; may then be called again */
  async fetch(): Promise<void> {
    if (this.#finished) return
    while (this.#version === undefined || this.received < this.#version.total) {
      const fields: [string, string][] = [
        ['Range', `bytes=${this.received}-${this.received + ReplyRange - 1}`],
      ]
      const validator = this.#validator()
      // If it has changed, the answer is the whole new one.
      if (this.received > 0 && validator) fields.unshift(['If-Range', validator])
      await this.#conversation.get({ url: this.url, fields }, (response, chunks) =>
        this.#take(response, chunks),
      )
    }
    this.data = await this.#sink.finish()
    this.#finished = true
  }

  /** A weak ETag says nothing of single bytes (RFC 9110 13.1.5). */
  #validator(): string | undefined {
    const { etag, lastModified } = this.#version ?? {}
    return etag && !etag.startsWith('W/') ? etag : lastModified
  }

  async #take({ statusCode, headers }: IncomingMessage, chunks: AsyncIterable<Buffer>): Promise<void> {
    const place = placeOf(statusCode ?? 0, headers)
    if (place.total > this.#maxSize) {
      throw new UploadError('reply-too-large', `It has ${place.total} bytes, the limit is ${this.#maxSize}.`)
    }
    const version = { ...place, etag: headers.etag, lastModified: headers['last-modified'] }
    const isOther = this.#version !== undefined && !isSameVersion(this.#version, version)
    if (isOther || (place.first === 0 && this.received > 0)) {
      await this.#restart(version)
      // A part of another version is of no use; a whole one is.
      if (place.first > 0) return
    }
    this.#version = version
    if (place.first !== this.received)
      throw invalidReply(`Byte ${place.first} came for byte ${this.received}.`)
    for await (const chunk of chunks) {
      await this.#sink.write(chunk)
      this.received += chunk.length
      this.#onProgress()
    }
  }

  /** "If the time stamp changes the client restarts, if the length does it is an error" ([MC-BUP] 3.6.5.2.4.2). */
  async #restart({ total }: Version): Promise<void> {
    this.#restarts += 1
    if (this.#version && this.#version.total !== total) {
      throw new UploadError('reply-changed', `It had ${this.#version.total} bytes, and now has ${total}.`)
    }
    if (this.#restarts > MaxReplyRestarts)
      throw new UploadError('reply-changed', `It did so ${MaxReplyRestarts} times.`)
    await this.#sink.restart()
    this.received = 0
    this.#version = undefined
  }
}

const isSameVersion = (a: Version, b: Version): boolean =>
  a.total === b.total && a.etag === b.etag && a.lastModified === b.lastModified

/** Which bytes an answer has. */
function placeOf(status: number, headers: HeaderFields): { readonly first: number; readonly total: number } {
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') throw invalidReply(`It is encoded as ${encoding}.`)
  const range = field(headers, 'content-range')
  const length = Number(field(headers, 'content-length') ?? Number.NaN)
  if (status === 416) {
    // That is how servers say that there is nothing to give a part of.
    if (range && /^bytes +\*\/0$/i.test(range)) return { first: 0, total: 0 }
    throw invalidReply('The server has not the bytes that it spoke of.')
  }
  // Without it nobody knows whether it was all ([MC-BUP] 3.5.5: MUST).
  if (!Number.isSafeInteger(length)) throw invalidReply('It comes without Content-Length.')
  if (status !== 206) return { first: 0, total: length }
  const match = /^bytes +(\d+)-(\d+)\/(\d+)$/i.exec(range ?? '')
  const [first, last, total] = (match?.slice(1).map(Number) ?? []) as [number?, number?, number?]
  if (first === undefined || last === undefined || total === undefined || last < first || last >= total) {
    throw invalidReply(`Its Content-Range is ${range ?? 'missing'}.`)
  }
  if (length !== last - first + 1) throw invalidReply('Its Content-Length is not that of its Content-Range.')
  return { first, total }
}

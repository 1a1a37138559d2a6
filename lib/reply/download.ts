import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import parseRange, { type Range } from 'range-parser'
import send from 'send'
import type { StoredReply } from '../stores/store.ts'

const ContentType = 'application/octet-stream'

/** A request with any of these fields is answered by the package `send`. */
const conditions = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since']

/**
 * Answers a GET or HEAD of a reply as a BITS download requires ([MC-BUP] 3.5.5, win32: HTTP requirements for
 * BITS downloads): always with Content-Length, so never chunked; with ranges; with a Last-Modified that does
 * not change (otherwise the client starts again); and without compression by proxies or middleware.
 *
 * The package `send` implements the rules of HTTP. It reads files, and a store's replies may be something
 * else, so this function replaces its source of bytes. It also adds several ranges in one answer, which
 * `send` does not support.
 *
 * @param tag identifies the reply among all replies, for its ETag
 */
export function sendReply(
  request: IncomingMessage,
  response: ServerResponse,
  reply: StoredReply,
  tag: string,
): void {
  // Another handler may have answered already, for example a timeout middleware.
  if (response.headersSent) return
  response.setHeader('Content-Type', ContentType)
  response.setHeader('X-Content-Type-Options', 'nosniff')
  // no-transform: compression by a middleware or a proxy would remove the length and the ranges.
  response.setHeader('Cache-Control', 'private, no-transform')
  // A strong ETag, so that a download can be resumed with If-Range; `send` would create a weak one.
  response.setHeader('ETag', `"${tag}-${Math.trunc(reply.modified).toString(36)}"`)

  // An empty reply has no ranges. A client that requests a first range before it knows the length would take
  // 416 for an error, so it gets 200 with the empty reply.
  response.setHeader('Accept-Ranges', 'bytes')
  const sender = send(request, 'reply', { acceptRanges: reply.size > 0 })
  Object.assign(sender, { res: response })
  sender.stream = (_, options = {}) => {
    const { start, end } = options as { start: number; end: number }
    deliver(reply.size === 0 ? Readable.from([]) : reply.read(start, end), response)
  }
  const status = { size: reply.size, mtime: new Date(reply.modified) } as Stats

  const ranges = conditions.some((name) => name in request.headers)
    ? undefined
    : severalRanges(request.headers.range, reply.size)
  // Sets Last-Modified, which If-Range may refer to.
  if (ranges) sender.setHeader('reply', status)
  if (ranges && sender.isRangeFresh()) serveRanges(request, response, reply, ranges)
  else sender.send('reply', status)
}

function serveRanges(
  request: IncomingMessage,
  response: ServerResponse,
  reply: StoredReply,
  ranges: readonly Range[],
): void {
  // Random, so that the content of a reply cannot contain it.
  const boundary = randomUUID()
  const body = multipart(reply, ranges, { boundary, type: ContentType })
  response.statusCode = 206
  response.setHeader('Content-Type', `multipart/byteranges; boundary=${boundary}`)
  response.setHeader('Content-Length', body.length)
  if (request.method === 'HEAD') response.end()
  else deliver(Readable.from(body.bytes(), { objectMode: false }), response)
}

/** Sends the body. The length was already sent, so after a read error `pipeline` closes the connection. */
function deliver(bytes: Readable, response: ServerResponse): void {
  pipeline(bytes, response, () => {})
}

/**
 * More ranges than a BITS client requests at once. A request for more ranges, or for more bytes in total than
 * the reply has, is answered by `send`: with the whole reply, or with one range if the ranges can be joined
 * to one.
 */
const MaxRanges = 64

/** The ranges of a request in its order, if they are several and all exist; otherwise undefined. */
export function severalRanges(range: string | undefined, size: number): readonly Range[] | undefined {
  if (range === undefined) return undefined
  const ranges = parseRange(size, range)
  if (!Array.isArray(ranges) || ranges.type !== 'bytes') return undefined
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0)
  return ranges.length > 1 && ranges.length <= MaxRanges && bytes <= size ? ranges : undefined
}

/** A body of several parts. Its length is known before the first byte is read. */
export interface MultipartBody {
  readonly length: number
  bytes(): AsyncGenerator<Uint8Array>
}

/**
 * Several ranges of a reply as multipart/byteranges, in the order of the request and unmerged ([MC-BUP]
 * 3.5.5.1, RFC 9110 14.6). The head of a part has only Content-Type and Content-Range: a BITS client reads at
 * most 180 bytes of other fields.
 */
export function multipart(
  reply: StoredReply,
  ranges: readonly Range[],
  { boundary, type }: { readonly boundary: string; readonly type: string },
): MultipartBody {
  const parts = ranges.map(({ start, end }, index) => {
    const head =
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\n` +
      `Content-Type: ${type}\r\nContent-Range: bytes ${start}-${end}/${reply.size}\r\n\r\n`
    return { head: Buffer.from(head), start, end }
  })
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  return {
    length: parts.reduce((sum, { head, start, end }) => sum + head.length + end - start + 1, tail.length),
    async *bytes() {
      for (const { head, start, end } of parts) {
        yield head
        yield* reply.read(start, end) as Readable & AsyncIterable<Uint8Array>
      }
      yield tail
    },
  }
}

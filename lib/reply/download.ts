import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import parseRange, { type Range } from 'range-parser'
import send from 'send'
import { requestTarget } from '../http/request.ts'
import type { BitsError } from '../protocol/errors.ts'
import { readReplyTarget } from '../protocol/reply-url.ts'
import type { StoredReply } from '../stores/store.ts'

const ContentType = 'application/octet-stream'

/** A request with any of these is `send`'s to judge. */
const conditions = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since']

/**
 * Answers a GET or HEAD of a reply as a BITS download wants it ([MC-BUP] 3.5.5, win32: HTTP requirements for BITS
 * downloads): Content-Length always, and so never chunked, ranges, a Last-Modified that stays the same (or the client
 * begins anew), and no compression by whoever stands in between.
 *
 * The rules of HTTP are the package `send`'s. It reads files; a store's replies need not be files, so only where the bytes
 * come from is said anew, and what it does not have: several ranges in one answer.
 *
 * @param tag of the reply among all replies, for its ETag
 */
export function sendReply(
  request: IncomingMessage,
  response: ServerResponse,
  reply: StoredReply,
  tag: string,
): void {
  // Somebody else may have answered meanwhile, a time-out's middleware perhaps: one answer is enough.
  if (response.headersSent) return
  response.setHeader('Content-Type', ContentType)
  response.setHeader('X-Content-Type-Options', 'nosniff')
  // no-transform: compression by the app's own middleware, or a proxy, would take the length and the ranges away.
  response.setHeader('Cache-Control', 'private, no-transform')
  // Strong, so that a download may be resumed with If-Range; what `send` makes of size and time is weak.
  response.setHeader('ETag', `"${tag}-${Math.trunc(reply.modified).toString(36)}"`)

  // An empty one has no ranges, and 416 would be an error to a client that asks for a first piece before it knows the
  // length: 200 says that this is all.
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
  // As If-Range may speak of the fields that are still to be set.
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
  // Nobody who wrote the reply could know it.
  const boundary = randomUUID()
  const body = multipart(reply, ranges, { boundary, type: ContentType })
  response.statusCode = 206
  response.setHeader('Content-Type', `multipart/byteranges; boundary=${boundary}`)
  response.setHeader('Content-Length', body.length)
  if (request.method === 'HEAD') response.end()
  else deliver(Readable.from(body.bytes(), { objectMode: false }), response)
}

/** The length is promised: if the bytes fail, only the end of the connection can tell. Pipeline sees to it. */
function deliver(bytes: Readable, response: ServerResponse): void {
  pipeline(bytes, response, () => {})
}

/** Whether a request is the download of a reply, below whatever mount path. */
export const isReplyRequest = (request: IncomingMessage): boolean =>
  (request.method === 'GET' || request.method === 'HEAD') &&
  readReplyTarget(requestTarget(request)) !== undefined

/** An ordinary answer of HTTP, for a download knows no Acks. */
export function refuseReply(response: ServerResponse, { code, status, challenge }: BitsError): void {
  if (response.headersSent) return
  // 500 is what begins an upload anew; here it would only mean: ask again.
  response.statusCode = code === 'session-not-found' ? 404 : status
  if (challenge !== undefined) response.setHeader('WWW-Authenticate', challenge)
  response.setHeader('Content-Length', 0)
  response.end()
}

/**
 * More ranges in one request than a downloader asks for. Who asks for more, or for more bytes than there are, is answered
 * by `send`: with the whole, or with one range where they make one.
 */
const MaxRanges = 64

/** The ranges of a request, in its order, if it asks for several that all exist; undefined for all else. */
export function severalRanges(range: string | undefined, size: number): readonly Range[] | undefined {
  if (range === undefined) return undefined
  const ranges = parseRange(size, range)
  if (!Array.isArray(ranges) || ranges.type !== 'bytes') return undefined
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0)
  return ranges.length > 1 && ranges.length <= MaxRanges && bytes <= size ? ranges : undefined
}

/** A body of several parts, whose length is known before the first byte is read. */
export interface MultipartBody {
  readonly length: number
  bytes(): AsyncGenerator<Uint8Array>
}

/**
 * Several ranges of a reply as multipart/byteranges, in the order of the request and unmerged ([MC-BUP] 3.5.5.1, RFC 9110
 * 14.6). A part's head has Content-Type and Content-Range only: a BITS client reads 180 bytes of other fields at most.
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

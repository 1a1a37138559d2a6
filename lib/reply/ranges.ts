import type { Readable } from 'node:stream'
import parseRange, { type Range } from 'range-parser'
import type { StoredReply } from '../stores/store.ts'

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

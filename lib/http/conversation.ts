import type { IncomingMessage } from 'node:http'
import { BitsPost } from '../protocol/headers.ts'

const VERB = Buffer.from(`${BitsPost} `)
const ALIAS = Buffer.from('BIND      ')
/** So many first bytes are the same in both: a genuine BIND whose first packet ends there stays what it is. */
const SHARED = 2
/** Allowed neither in a method nor at the start of a URL, not even by `insecureHTTPParser`. */
const REFUSED = 0x01

const CR = 0x0d
const LF = 0x0a
const END_OF_HEAD = Buffer.from('\r\n\r\n')
const CRLF_CRLF = END_OF_HEAD.readInt32BE()

/**
 * One connection, followed byte by byte along with Node's parser.
 *
 * A byte is changed only where a message begins, and that place is known exactly, never guessed:
 *
 * - a message without a body, or whose body came with its head, has ended with the last byte seen: the parser calls it
 *   complete, and as many bytes followed its head as its length says;
 * - a body by Content-Length is counted down, and the next message begins behind it, often in the same chunk: a client
 *   may have its answer, and send on, before the server has read its last bytes;
 * - a chunked body has ended with the last byte seen if the parser calls the message complete and the last four bytes
 *   are CRLF CRLF (if those belonged to a further, pipelined message, they would have ended its head, and the parser
 *   would have announced its request).
 *
 * In any doubt – bytes of a pipelined message right behind a head, line ends that are not CRLF – the rest of the
 * connection is left alone, and the parser answers 400 to BITS_POST as it always did. A BITS client never gets there:
 * it waits for each answer before it sends on.
 */
export class Conversation {
  /** To what the next byte belongs; 'headed': the head is over and its request not yet announced. */
  #place: 'verb' | 'head' | 'headed' | 'body' | 'lost' = 'verb'
  /** How many bytes of the verb (in 'verb') or of CRLF CRLF (in 'head') were just seen. */
  #seen = 0
  /** Whether the verb of this message was spelled over. */
  #renamed = false
  /** How many bytes followed the head. */
  #bytes = 0
  /** The last four bytes of all. */
  #tail = 0
  /** How many bytes of a body by Content-Length are still to come. */
  #left: number | undefined
  #request: IncomingMessage | undefined

  /** Before Node's parser reads `chunk`. */
  before(chunk: Buffer): void {
    let at = this.#left === undefined ? 0 : this.#countDown(this.#left, chunk)
    if (this.#place === 'verb') at = this.#spellOver(chunk, at)
    if (this.#place === 'head') at = this.#findEndOfHead(chunk, at)
    this.#bytes += chunk.length - at
    for (let i = Math.max(0, chunk.length - 4); i < chunk.length; i++) {
      this.#tail = (this.#tail << 8) | (chunk[i] as number)
    }
  }

  /** While Node's parser reads a chunk: it has read a head and made a request of it. */
  announced(request: IncomingMessage): void {
    if (this.#renamed && request.method === 'BIND') request.method = BitsPost
    this.#renamed = false
    // Elsewhere than right behind a head: a pipelined request, or the parser ends heads in another place than we do.
    this.#place = this.#place === 'headed' ? 'body' : 'lost'
    this.#request = request
  }

  /** After Node's parser has read a chunk. */
  after(): void {
    const request = this.#request
    if (!request || this.#left !== undefined) return
    if (request.complete) this.#begin(this.#place === 'body' && this.#endsHere(request) ? 'verb' : 'lost')
    else if (this.#place === 'body') this.#expect(request)
  }

  /** A new message, or none that we could follow. */
  #begin(place: 'verb' | 'lost'): void {
    this.#place = place
    this.#seen = this.#bytes = 0
    this.#left = undefined
    // Let go at once: an idle connection would keep alive all that the app has hung on to its last request.
    this.#request = undefined
  }

  /** Learns how long a body is that goes on in the next chunk. */
  #expect(request: IncomingMessage): void {
    const length = bodyLength(request)
    if (length === 'chunked') return
    const left = length - this.#bytes
    if (left > 0) this.#left = left
    else this.#begin('lost')
  }

  /** Counts a chunk of a body; returns where in it the next message begins. */
  #countDown(left: number, chunk: Buffer): number {
    if (chunk.length < left) {
      this.#left = left - chunk.length
      return chunk.length
    }
    this.#begin('verb')
    return left
  }

  /** Matches the verb by position and spells it over; returns where in `chunk` the rest of the head begins. */
  #spellOver(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte === VERB[this.#seen]) {
        chunk[at] = ALIAS[this.#seen++] as number
        if (this.#seen < VERB.length) continue
        this.#renamed = true
        return this.#enterHead(at + 1)
      }
      // The parser, too, skips blank lines before a message.
      if (this.#seen === 0 && (byte === CR || byte === LF)) continue
      // Bytes of the alias are on their way and cannot be taken back, and what is no BITS_POST must not pass as BIND.
      if (this.#seen > SHARED) chunk[at] = REFUSED
      return this.#enterHead(at)
    }
    return chunk.length
  }

  #enterHead(at: number): number {
    this.#place = 'head'
    this.#seen = 0
    return at
  }

  /** Returns the position behind CRLF CRLF, or the chunk's length when it is not there. */
  #findEndOfHead(chunk: Buffer, from: number): number {
    let seen = this.#seen
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at] as number
      if (byte > CR && seen === 0) continue
      if (byte === END_OF_HEAD[seen]) {
        if (++seen < END_OF_HEAD.length) continue
        this.#place = 'headed'
        return at + 1
      }
      // A CR without LF or an LF without CR: `insecureHTTPParser` may take that for the end of a line.
      if (byte === CR || byte === LF || seen % 2 === 1) {
        this.#place = 'lost'
        break
      }
      seen = 0
    }
    this.#seen = seen
    return chunk.length
  }

  /** Whether a complete message ended exactly at the last byte seen. */
  #endsHere(request: IncomingMessage): boolean {
    if (this.#bytes === 0) return true
    const length = bodyLength(request)
    return length === 'chunked' ? this.#tail === CRLF_CRLF : this.#bytes === length
  }
}

/**
 * The raw headers, because an app may have edited the others by now. If Node has dropped some (`maxHeadersCount`), the
 * length is missing, and counts as one that does not fit what came.
 */
function bodyLength({ rawHeaders }: IncomingMessage): number | 'chunked' {
  let length = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase()
    if (name === 'transfer-encoding') return 'chunked'
    if (name === 'content-length') length = Number(rawHeaders[i + 1])
  }
  return length
}

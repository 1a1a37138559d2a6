import type { IncomingMessage } from 'node:http'
import { BitsPost } from '../../protocol/headers.ts'
import { freeBufferLater } from '../node-tuning/free-buffers.ts'
import { type ParseError, type Parser, type Result, restart } from './node-parser.ts'

const Method = Buffer.from(`${BitsPost} `)
const Alias = Buffer.from('BIND      ')
/** Number of first bytes that both have in common: the parser accepts them and stops at the next byte. */
const SharedPrefix = 2
/** In place of a number of matched bytes: the current head is not a BITS_POST, or that is uncertain. */
const NotOurs = -1

const CR = 0x0d
const LF = 0x0a

/**
 * Reads the method where Node's parser has stopped at it. The parser reads first, and reports when a message
 * begins, when its head ends, and how many bytes of a body it has passed on. So the position of the method is
 * known exactly, never guessed:
 *
 * - The token at which the parser stops begins in this chunk, or the translator has read its first bytes.
 * - In the chunk, only blank lines and the rest of a body precede the token. (A client may get its answer and
 *   send the next request before the server has read the last bytes of the body.) So it is the whole token,
 *   and not the end of `REBITS_POST`.
 * - The framing of a chunked body has an unknown length. After it the position is that of the parser's error,
 *   and the line feed before the token shows that it is the whole token: see `#startAfterFraming`.
 *
 * In any doubt (a head before it in the same chunk) the parser's error is passed on, and BITS_POST is answered
 * with 400 as by Node itself. A BITS client never causes this: it waits for each answer.
 */
export class MethodTranslator {
  /** The parser's error at a method of which only the beginning has arrived; withheld from Node. */
  pendingError: ParseError | undefined
  readonly #parser: Parser
  /** The whole chunk, while Node processes the result: the parser would return only a part of it. */
  #chunk: Uint8Array | undefined
  /** Whether Node has got the chunk, and may keep it. */
  #isShared = false
  /** Whether a message has begun whose head has not ended. */
  #isInHead = false
  /** Bytes of the method at the end of the last chunk; above {@link SharedPrefix} the parser stopped. */
  #matched = 0
  /** How many bytes of a body this chunk contained. */
  #bodyBytes = 0
  /** Whether a head has ended in this chunk. */
  #hasHeadEnd = false
  /** Whether the current message has the alias and must get its original method. */
  #isRenamed = false

  constructor(parser: Parser) {
    this.#parser = parser
  }

  /** Called when the parser has read the first byte of a message. */
  onMessageBegin(): void {
    this.#isInHead = true
  }

  /** Called when the parser has read a head, before any listener sees the request. */
  onHeadComplete(request: IncomingMessage): void {
    this.#isInHead = false
    this.#hasHeadEnd = true
    if (this.#isRenamed) request.method = BitsPost
    this.#isRenamed = false
  }

  /** Called when the parser has read a piece of a body. */
  onBodyBytes({ length }: Uint8Array): void {
    this.#bodyBytes += length
  }

  /**
   * Called when the parser has read a chunk, or has stopped in it.
   * @param chunk missing if the chunk was read natively; then it is fetched only when needed
   * @returns the result that is passed to Node
   */
  read(result: Result, chunk?: Uint8Array): Result {
    const bodyBytes = this.#bodyBytes
    const hasHeadEnd = this.#hasHeadEnd
    this.#bodyBytes = 0
    this.#hasHeadEnd = false
    if (typeof result === 'number' && !this.#isInHead) {
      this.#matched = 0
      return result
    }
    // The chunk is not fetched, because a head may arrive in many chunks.
    if (this.#matched === NotOurs) return result
    return this.#matchMethod(result, chunk ?? this.#fetch(), bodyBytes, hasHeadEnd)
  }

  /** The chunk, for Node or a listener for its errors; from then on it may be in use there. */
  shareChunk(): Uint8Array | undefined {
    this.#isShared = true
    return this.#chunk
  }

  /** Called when Node has processed the result. */
  dropChunk(): void {
    if (this.#chunk && !this.#isShared) freeBufferLater(this.#chunk)
    this.#chunk = undefined
    this.#isShared = false
  }

  #fetch(): Uint8Array {
    this.#chunk = this.#parser.getCurrentBuffer()
    this.#isShared = false
    return this.#chunk
  }

  /** Matches the method, or the next part of it, in a chunk of whose head the parser has read only a part. */
  #matchMethod(result: Result, chunk: Uint8Array, bodyBytes: number, hasHeadEnd: boolean): Result {
    let at = bodyBytes
    if (this.#matched === 0) while (chunk[at] === CR || chunk[at] === LF) at++
    if (!this.#isStoppedAt(at, result, chunk)) {
      const start = hasHeadEnd ? undefined : this.#startAfterFraming(result, chunk)
      if (start === undefined) return this.#passThrough(result)
      at = start
    }

    while (at < chunk.length && this.#matched < Method.length) {
      if (chunk[at] !== Method[this.#matched]) return this.#passThrough(result, at)
      at++
      this.#matched++
    }
    if (this.#matched === Method.length) return this.#resumeWithAlias(chunk, at)
    // Node gets a success: either the rest arrives, or Node's timeout for heads ends the connection.
    if (typeof result !== 'number') this.pendingError ??= result
    return chunk.length
  }

  /** Whether the parser has stopped at the method, or at the end of the chunk before it got there. */
  #isStoppedAt(methodStart: number, result: Result, { length }: Uint8Array): boolean {
    if (this.#matched > SharedPrefix) return true
    // The result may be a number: after an upgrade without an 'upgrade' listener the parser does not report
    // its errors.
    const stop = typeof result === 'number' ? result : result.bytesParsed
    const isRefused = typeof result === 'number' || result.code === 'HPE_INVALID_METHOD'
    return isRefused && stop === Math.min(methodStart + SharedPrefix - this.#matched, length)
  }

  /**
   * The position of a token that follows the end of a chunked body in this chunk; undefined if it is uncertain.
   * The message has begun in this chunk, and no head has ended in it.
   *
   * - The parser has refused the method: it stopped after the {@link SharedPrefix} of the token. A token contains
   *   no line feed, so the line feed before that prefix shows that the token begins there. (REBIND and UNBIND
   *   also lead the parser to a refused T.)
   * - The chunk ends within the prefix. Before it is CRLF CRLF: if the message had begun earlier, these would
   *   have ended its head.
   */
  #startAfterFraming(result: Result, chunk: Uint8Array): number | undefined {
    if (this.#matched !== 0) return undefined
    const { length } = chunk
    if (typeof result !== 'number') {
      const start = result.bytesParsed - SharedPrefix
      return result.code === 'HPE_INVALID_METHOD' && chunk[start - 1] === LF ? start : undefined
    }
    const start = chunk.lastIndexOf(LF) + 1
    const isAfterBlankLine =
      chunk[start - 4] === CR && chunk[start - 3] === LF && chunk[start - 2] === CR && chunk[start - 1] === LF
    const isPrefix = start < length && length - start <= SharedPrefix
    return isPrefix && isAfterBlankLine && result === length ? start : undefined
  }

  /** Ends the match: this head is not a BITS_POST. Returns the withheld error, if there is one. */
  #passThrough(result: Result, at = 0): Result {
    const { pendingError } = this
    this.pendingError = undefined
    this.#matched = NotOurs
    if (pendingError) pendingError.bytesParsed = at
    return pendingError ?? result
  }

  /** Restarts the parser with the alias and the rest of the chunk; returns the result for the chunk. */
  #resumeWithAlias(chunk: Uint8Array, rest: number): Result {
    this.pendingError = undefined
    this.#matched = NotOurs
    restart(this.#parser)
    this.#isRenamed = true
    this.#execute(Alias)
    const result = this.#execute(chunk.subarray(rest))
    this.#bodyBytes = 0
    this.#hasHeadEnd = false
    if (typeof result !== 'number') {
      result.bytesParsed += rest
      return result
    }
    if (!this.#isInHead) this.#matched = 0
    return rest + result
  }

  #execute(chunk: Uint8Array): Result {
    return this.#parser.constructor.prototype.execute.call(this.#parser, chunk)
  }
}

import type { IncomingMessage } from 'node:http'
import { BitsPost } from '../../protocol/headers.ts'
import { freeBufferLater } from '../node-tuning/free-buffers.ts'
import { type ParseError, type Parser, type Result, restart } from './node-parser.ts'

const Method = Buffer.from(`${BitsPost} `)
const Alias = Buffer.from('BIND      ')
/** So many first bytes are the same in both: the parser takes them, and stops at the next. */
const SharedPrefix = 2
/** In place of a number of bytes: the head that has begun is not ours, or we cannot be sure. */
const NotOurs = -1

const CR = 0x0d
const LF = 0x0a

/**
 * Reads the verb where Node's parser has stopped at it. The parser reads first, and tells when a message begins, when
 * its head is over, and how much of a body it has passed on; so the place of the verb is known exactly, never guessed:
 *
 * - The token at which it stops has begun in this chunk, or we have seen its first bytes ourselves.
 * - Before it stand in the chunk only blank lines and the rest of a body. (A client may have its answer, and send on,
 *   before the server has read its last bytes.) So it is the whole token, and not the end of `REBITS_POST`.
 *
 * In any doubt – a head in the same chunk before it, framing of a chunked body – the parser's error stands, and
 * BITS_POST is answered 400 as it always was. A BITS client never gets there: it waits for each answer.
 */
export class MethodTranslator {
  /** The parser's error at a verb of which only the beginning has come; nobody has heard of it. */
  pendingError: ParseError | undefined
  readonly #parser: Parser
  /** The whole chunk, while Node's own code is told what has become of it: it would get it only in part. */
  #chunk: Uint8Array | undefined
  #isShared = false
  /** Whether a message has begun whose head is not over. */
  #isInHead = false
  /** How many bytes of the verb ended the last chunk; with more than {@link SharedPrefix} the parser has stopped. */
  #matched = 0
  /** How many bytes of a body were in this chunk. */
  #bodyBytes = 0
  /** Whether the message that has begun is to get its name back. */
  #isRenamed = false

  constructor(parser: Parser) {
    this.#parser = parser
  }

  /** The parser has read the first byte of a message. */
  onMessageBegin(): void {
    this.#isInHead = true
  }

  /** The parser has read a head, and nobody has seen the request yet. */
  onHeadComplete(request: IncomingMessage): void {
    this.#isInHead = false
    if (this.#isRenamed) request.method = BitsPost
    this.#isRenamed = false
  }

  /** The parser has read a piece of a body. */
  onBodyBytes({ length }: Uint8Array): void {
    this.#bodyBytes += length
  }

  /**
   * The parser has read a chunk, or stopped in it; returns what Node is to know of that. Without `chunk` it was read
   * natively, and is fetched only in need.
   */
  read(result: Result, chunk?: Uint8Array): Result {
    const body = this.#bodyBytes
    this.#bodyBytes = 0
    if (typeof result === 'number' && !this.#isInHead) {
      this.#matched = 0
      return result
    }
    // Not fetched, for a head may come in many chunks.
    if (this.#matched === NotOurs) return result
    return this.#matchMethod(result, chunk ?? this.#fetch(), body)
  }

  /** The chunk, for Node or whoever it tells of an error; from then on it is theirs, too. */
  shareChunk(): Uint8Array | undefined {
    this.#isShared = true
    return this.#chunk
  }

  /** Node's own code has been told. */
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

  /** Goes on with the verb in a chunk of whose head the parser has read only a part. */
  #matchMethod(result: Result, chunk: Uint8Array, body: number): Result {
    let at = body
    if (this.#matched === 0) while (chunk[at] === CR || chunk[at] === LF) at++
    if (!this.#isStoppedAt(at, result, chunk)) return this.#passThrough(result)

    while (at < chunk.length && this.#matched < Method.length) {
      if (chunk[at] !== Method[this.#matched]) return this.#passThrough(result, at)
      at++
      this.#matched++
    }
    if (this.#matched === Method.length) return this.#resumeWithAlias(chunk, at)
    // To Node, all is well: the rest may come, or its timeout for heads.
    if (typeof result !== 'number') this.pendingError ??= result
    return chunk.length
  }

  /** Whether the parser has stopped at the verb, or at the end of the chunk before it came so far. */
  #isStoppedAt(verb: number, result: Result, { length }: Uint8Array): boolean {
    if (this.#matched > SharedPrefix) return true
    // A number, too: after an upgrade that nobody granted the parser tells nothing of its errors.
    const stop = typeof result === 'number' ? result : result.bytesParsed
    const isRefused = typeof result === 'number' || result.code === 'HPE_INVALID_METHOD'
    return isRefused && stop === Math.min(verb + SharedPrefix - this.#matched, length)
  }

  /** This head is not ours. */
  #passThrough(result: Result, at = 0): Result {
    const { pendingError } = this
    this.pendingError = undefined
    this.#matched = NotOurs
    if (pendingError) pendingError.bytesParsed = at
    return pendingError ?? result
  }

  /** Has the parser read on behind the verb as if that were one that it knows; returns what became of the chunk. */
  #resumeWithAlias(chunk: Uint8Array, rest: number): Result {
    this.pendingError = undefined
    this.#matched = NotOurs
    restart(this.#parser)
    this.#isRenamed = true
    this.#execute(Alias)
    const result = this.#execute(chunk.subarray(rest))
    this.#bodyBytes = 0
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

import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { freeBuffers } from './node-tuning/free-buffers.ts'

/** Bytes that may wait for the store before the socket is paused; about what one write takes at its best. */
const MaxBufferedBytes = 1024 * 1024

export interface FragmentBodyOptions {
  /** Bytes that the body must have: no more, no fewer. */
  readonly length: number
  /** Milliseconds without a byte after which the reading ends with `timeout`. */
  readonly idleTimeout: number
}

type Batch = IteratorResult<Buffer[], undefined>

/**
 * A request's body on its way in, in batches: what a turn of the event loop brings is one, and while it is being written
 * the next gathers. So one write takes what otherwise several would, a slow line's bytes wait for nobody, and memory
 * stays at about two megabytes, whatever the body's length. The stream's own iterator would hand over each chunk for
 * itself, at three times the price.
 *
 * It is its own iterator, and its own promises' end: a server may hold one for each of thousands of silent clients.
 *
 * Nothing is read, and no listener set, before it is iterated, which can be done once; when the iteration ends no
 * listener is left.
 */
export class FragmentBody implements AsyncIterable<Buffer[]>, AsyncIterator<Buffer[], undefined> {
  readonly #request: IncomingMessage
  readonly #idleTimeout: number
  #timer: NodeJS.Timeout | undefined
  /** Bytes that may still come. */
  #remaining: number
  #pending: Buffer[] = []
  #size = 0
  /** The last batch: it is the taker's until he asks for the next. */
  #lastBatch: Buffer[] = []
  /** Whether nobody else gets the chunks, and may keep them. */
  #ownsChunks = true
  #ended = false
  #error: Error | undefined
  /** Whether what has come is given when this turn of the event loop is over. */
  #flushScheduled = false
  #resolve: ((batch: Batch) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(request: IncomingMessage, { length, idleTimeout }: FragmentBodyOptions) {
    this.#request = request
    this.#remaining = length
    this.#idleTimeout = idleTimeout
  }

  /** The batches: all bytes that come, then the error if there was one. */
  read(): this {
    return this
  }

  /** Ends the reading, behind the bytes that have come, with this error. */
  interrupt(reason: Error): void {
    this.#fail(reason)
  }

  [Symbol.asyncIterator](): this {
    const request = this.#request
    if (this.#ended) return this
    if (request.readableDidRead) this.#fail(bodyAlreadyReadError())
    else if (request.readableEnded) this.#onEnd()
    else if (request.destroyed) this.#onClose()
    else if (this.#isFullyBuffered) this.#readBuffered()
    else {
      this.#timer = setTimeout(idleCallback, this.#idleTimeout, this).unref()
      request
        .on('data', this.#onData)
        .on('end', this.#onEnd)
        .on('error', this.#onClose)
        .on('close', this.#onClose)
    }
    return this
  }

  next(): Promise<Batch> {
    if (this.#ownsChunks) freeBuffers(this.#lastBatch)
    // Who waits for the next batch in a loop still holds the one before, for hours perhaps.
    this.#lastBatch.length = 0
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (this.#isAwaitingCompletion) {
        this.#scheduleFlush()
        return
      }
      if (this.#ended || this.#isFull) {
        this.#flush()
        return
      }
      this.#timer?.refresh()
      this.#request.resume()
      if (this.#size > 0) this.#scheduleFlush()
    })
  }

  /** The store has had enough: what is left of the body is the connection's to deal with. */
  async return(): Promise<Batch> {
    this.#pending = []
    this.#lastBatch = []
    this.#size = 0
    this.#finish()
    return { done: true, value: undefined }
  }

  get #isFull(): boolean {
    return this.#size >= MaxBufferedBytes
  }

  /** Whether all bytes are here, as those of small bodies are that came in one piece with their head. */
  get #isFullyBuffered(): boolean {
    const { headers, readableLength, readableFlowing } = this.#request
    return (
      readableLength > 0 &&
      readableLength === this.#remaining &&
      !readableFlowing &&
      // A chunked body may be longer than it should be, and that is to be seen.
      Number(headers['content-length']) === readableLength &&
      headers['transfer-encoding'] === undefined
    )
  }

  /** Then there is nothing to listen for, and nothing that could break off. */
  #readBuffered(): void {
    if (!isSoleConsumer(this.#request, 0)) this.#ownsChunks = false
    // Node 26 gives a piece at a time, those before it all that it has.
    while (this.#remaining > 0) {
      const piece: Buffer = this.#request.read()
      this.#remaining -= piece.length
      this.#buffer(piece)
    }
    this.#ended = true
  }

  /** Whether the parser is still at work on the piece that brought the last byte: its packet is not to be answered yet. */
  get #isAwaitingCompletion(): boolean {
    return this.#ended && this.#size === 0 && !this.#error && !this.#request.complete
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!isSoleConsumer(this.#request, 1)) this.#ownsChunks = false
    this.#remaining -= chunk.length
    if (this.#remaining < 0) {
      // Only a chunked body can: where there is a Content-Length, Node holds it to it.
      this.#buffer(chunk.subarray(0, chunk.length + this.#remaining))
      this.#fail(new BitsError('invalid-packet', 'The body is longer than Content-Range says'))
      return
    }
    this.#buffer(chunk)
    if (this.#isFull) this.#request.pause()
    if (this.#isFull || this.#remaining === 0) this.#flush()
    else this.#scheduleFlush()
  }

  readonly #onEnd = (): void => {
    if (this.#remaining === 0) this.#finish()
    else this.#fail(new BitsError('invalid-packet', 'The body is shorter than Content-Range says'))
  }

  readonly #onClose = (): void => this.#fail(new BitsError('disconnected'))

  /** Nothing has come for a while, as far as the timers know. */
  onIdleTimeout(): void {
    const left = this.#remaining
    // What came while the process was busy is seen behind the timers only: its own silence is not the client's.
    setImmediate(() => {
      // Silence counts only while somebody listens: a slow disk is not the client's fault.
      if (this.#resolve && this.#remaining === left) this.#fail(new BitsError('timeout'))
      else if (!this.#ended) this.#timer?.refresh()
    })
  }

  /** A turn of the event loop is over. */
  onLoopTurn(): void {
    this.#flushScheduled = false
    if (this.#size > 0 || this.#ended) this.#flush()
  }

  #buffer(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#pending.push(chunk)
    this.#size += chunk.length
  }

  #fail(error: Error): void {
    if (this.#ended) return
    this.#error = error
    this.#finish()
  }

  #finish(): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#timer) {
      clearTimeout(this.#timer)
      this.#request
        .off('data', this.#onData)
        .off('end', this.#onEnd)
        .off('error', this.#onClose)
        .off('close', this.#onClose)
      if (!this.#request.readableEnded) this.#request.pause()
    }
    this.#flush()
  }

  /**
   * At the end of this turn of the event loop, which first reads all that the kernel has of this connection: 64 KiB a
   * read, and a write for each of them would cost more than the reading.
   */
  #scheduleFlush(): void {
    if (this.#flushScheduled || !this.#resolve) return
    this.#flushScheduled = true
    setImmediate(turnCallback, this)
  }

  /** Settles the promise of the batch that was asked for, if one was. */
  #flush(): void {
    const [resolve, reject] = [this.#resolve, this.#reject]
    this.#resolve = this.#reject = undefined
    if (!resolve) return
    if (this.#size > 0) {
      const value = this.#pending
      this.#lastBatch = value
      this.#pending = []
      this.#size = 0
      // The next batch gathers while the store writes this one.
      if (!this.#ended) this.#request.resume()
      resolve({ done: false, value })
    } else if (this.#error) reject?.(this.#error)
    else resolve({ done: true, value: undefined })
  }
}

// One for all, and not a closure for each.
const idleCallback = (body: FragmentBody): void => body.onIdleTimeout()
const turnCallback = (body: FragmentBody): void => body.onLoopTurn()

/**
 * Whether a chunk of a body is Node's parser's own, which is whose memory we know, and comes to nobody but us: a meter or
 * a checksum in front of us may keep what it gets.
 * @param ours how many of the listeners are ours
 */
const isSoleConsumer = (
  request: IncomingMessage & { socket: { parser?: { incoming?: unknown } | null } },
  ours: number,
): boolean => request.socket.parser?.incoming === request && request.listenerCount('data') === ours

/**
 * Bytes that somebody read before us cannot be had twice, and waiting for them would be waiting for ever. A 500, so
 * that the clients come back when the application is mended.
 */
function bodyAlreadyReadError(): BitsError {
  const cause = new Error(
    'A body parser in front of bitsUpload() read the body: mount bitsUpload() before it',
  )
  return new BitsError('store-failed', cause.message, { cause })
}

import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { freeBuffers } from './node-tuning/free-buffers.ts'

/** Bytes that may wait for the store before the socket is paused; about the fastest size of one write. */
const MaxBufferedBytes = 1024 * 1024

export interface FragmentBodyOptions {
  /** Exact length of the body in bytes. */
  readonly length: number
  /** Milliseconds without a byte after which the read fails with `timeout`. */
  readonly idleTimeout: number
}

type Batch = IteratorResult<Buffer[], undefined>

/**
 * Reads a request body in batches. A batch is what one turn of the event loop delivers; the next batch is
 * buffered while the store writes the current one. So one write replaces several, bytes from a slow
 * connection are passed on without delay, and memory stays at about 2 MB for any body length. The stream's
 * own iterator yields each chunk separately, which takes three times as long.
 *
 * The object is its own iterator and holds the resolvers of its promise itself, because a server may have one
 * for each of thousands of silent clients.
 *
 * It can be iterated once. It reads nothing and adds no listener before the iteration starts, and removes its
 * listeners when the iteration ends.
 */
export class FragmentBody implements AsyncIterable<Buffer[]>, AsyncIterator<Buffer[], undefined> {
  readonly #request: IncomingMessage
  readonly #idleTimeout: number
  #timer: NodeJS.Timeout | undefined
  /** Bytes of the body that have not arrived. */
  #remaining: number
  #pending: Buffer[] = []
  /** Bytes in `#pending`. */
  #size = 0
  /** The last batch: it belongs to the consumer until the consumer requests the next one. */
  #lastBatch: Buffer[] = []
  /** Whether no other listener receives the chunks; another listener may keep them. */
  #ownsChunks = true
  #ended = false
  #error: Error | undefined
  /** Whether `#pending` is flushed at the end of this turn of the event loop. */
  #flushScheduled = false
  #resolve: ((batch: Batch) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(request: IncomingMessage, { length, idleTimeout }: FragmentBodyOptions) {
    this.#request = request
    this.#remaining = length
    this.#idleTimeout = idleTimeout
  }

  /** Ends the read with this error, after the bytes that have arrived. */
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
      this.#timer = setTimeout(FragmentBody.#onIdleTimeout, this.#idleTimeout, this).unref()
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
    // A loop that waits for the next batch still references the last one, possibly for hours.
    this.#lastBatch.length = 0
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (this.#isAwaitingCompletion) {
        this.#scheduleFlush()
        return
      }
      if (this.#ended || this.#size >= MaxBufferedBytes) {
        this.#flush()
        return
      }
      this.#timer?.refresh()
      this.#request.resume()
      if (this.#size > 0) this.#scheduleFlush()
    })
  }

  /** Called when the store stops early. The rest of the body is handled after the Ack (see `drainBody`). */
  async return(): Promise<Batch> {
    this.#pending = []
    this.#lastBatch = []
    this.#size = 0
    this.#finish()
    return { done: true, value: undefined }
  }

  /** Whether all bytes have arrived, as with a small body that arrived in one piece with its head. */
  get #isFullyBuffered(): boolean {
    const { headers, readableLength, readableFlowing } = this.#request
    return (
      readableLength > 0 &&
      readableLength === this.#remaining &&
      !readableFlowing &&
      // A chunked body may be too long, which only reading it shows.
      Number(headers['content-length']) === readableLength &&
      headers['transfer-encoding'] === undefined
    )
  }

  /** Reads a fully buffered body synchronously, without listeners and timer: it cannot be interrupted. */
  #readBuffered(): void {
    if (!isSoleConsumer(this.#request, 0)) this.#ownsChunks = false
    // Node 26 returns one piece per call, earlier versions all of them.
    while (this.#remaining > 0) {
      const piece: Buffer = this.#request.read()
      this.#remaining -= piece.length
      this.#buffer(piece)
    }
    this.#ended = true
  }

  /**
   * Whether the parser is still processing the piece with the last byte: the packet must not be answered yet.
   */
  get #isAwaitingCompletion(): boolean {
    return this.#ended && this.#size === 0 && !this.#error && !this.#request.complete
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!isSoleConsumer(this.#request, 1)) this.#ownsChunks = false
    this.#remaining -= chunk.length
    if (this.#remaining < 0) {
      // Only a chunked body can be too long: Node enforces Content-Length.
      this.#buffer(chunk.subarray(0, chunk.length + this.#remaining))
      this.#fail(new BitsError('invalid-packet', 'The body is longer than Content-Range says'))
      return
    }
    this.#buffer(chunk)
    const isFull = this.#size >= MaxBufferedBytes
    if (isFull) this.#request.pause()
    if (isFull || this.#remaining === 0) this.#flush()
    else this.#scheduleFlush()
  }

  readonly #onEnd = (): void => {
    if (this.#remaining === 0) this.#finish()
    else this.#fail(new BitsError('invalid-packet', 'The body is shorter than Content-Range says'))
  }

  readonly #onClose = (): void => this.#fail(new BitsError('disconnected'))

  // Static, so that a timer needs no closure of its own for each body.

  static #onIdleTimeout(body: FragmentBody): void {
    const remainingBefore = body.#remaining
    // Bytes that arrived while the process was busy are read after the timers of this turn: look again after
    // that.
    setImmediate(() => {
      // Silence counts only while the consumer waits: a slow disk is not the client's fault.
      if (body.#resolve && body.#remaining === remainingBefore) body.#fail(new BitsError('timeout'))
      else if (!body.#ended) body.#timer?.refresh()
    })
  }

  static #onLoopTurn(body: FragmentBody): void {
    body.#flushScheduled = false
    if (body.#size > 0 || body.#ended) body.#flush()
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
   * Flushes at the end of this turn of the event loop. The turn first reads everything that the kernel has
   * buffered for this connection, 64 KiB per read; a write for each of these reads would take longer than the
   * reads.
   */
  #scheduleFlush(): void {
    if (this.#flushScheduled || !this.#resolve) return
    this.#flushScheduled = true
    setImmediate(FragmentBody.#onLoopTurn, this)
  }

  /** Settles the promise of the requested batch, if one was requested. */
  #flush(): void {
    const [resolve, reject] = [this.#resolve, this.#reject]
    this.#resolve = this.#reject = undefined
    if (!resolve) return
    if (this.#size > 0) {
      const value = this.#pending
      this.#lastBatch = value
      this.#pending = []
      this.#size = 0
      // The next batch is buffered while the store writes this one.
      if (!this.#ended) this.#request.resume()
      resolve({ done: false, value })
    } else if (this.#error) reject?.(this.#error)
    else resolve({ done: true, value: undefined })
  }
}

/**
 * Whether the chunks come from Node's parser, so that the owner of their memory is known, and no other
 * listener receives them: a meter or a checksum before this middleware may keep its chunks.
 * @param ownListeners how many of the 'data' listeners belong to this module
 */
const isSoleConsumer = (
  request: IncomingMessage & { socket: { parser?: { incoming?: unknown } | null } },
  ownListeners: number,
): boolean => request.socket.parser?.incoming === request && request.listenerCount('data') === ownListeners

/**
 * The body was read before this middleware: its bytes cannot be read again, and waiting for them would never
 * end. The status is 500, so that clients retry after the application is corrected.
 */
function bodyAlreadyReadError(): BitsError {
  const cause = new Error('A body parser read the body before bitsUpload(): mount bitsUpload() before it')
  return new BitsError('store-failed', cause.message, { cause })
}

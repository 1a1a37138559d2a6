import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { giveBack } from './give-back.ts'

/** Bytes that may wait for the store before the socket is paused; about what one write takes at its best. */
const HighWater = 1024 * 1024

export interface BodyOptions {
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
export class IncomingBody implements AsyncIterable<Buffer[]>, AsyncIterator<Buffer[], undefined> {
  readonly #request: IncomingMessage
  readonly #idleTimeout: number
  #timer: NodeJS.Timeout | undefined
  /** Bytes that may still come. */
  #left: number
  #gathered: Buffer[] = []
  #size = 0
  /** The last batch: it is the taker's until he asks for the next. */
  #given: Buffer[] = []
  /** Whether nobody else gets the chunks, and may keep them. */
  #isOurs = true
  #ended = false
  #error: Error | undefined
  /** Whether what has come is given when this turn of the event loop is over. */
  #isDue = false
  #resolve: ((batch: Batch) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(request: IncomingMessage, { length, idleTimeout }: BodyOptions) {
    this.#request = request
    this.#left = length
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
    if (request.readableDidRead) this.#fail(readBefore())
    else if (request.readableEnded) this.#onEnd()
    else if (request.destroyed) this.#onClose()
    else if (this.#isHere) this.#takeWhole()
    else {
      this.#timer = setTimeout(onIdle, this.#idleTimeout, this).unref()
      request
        .on('data', this.#onData)
        .on('end', this.#onEnd)
        .on('error', this.#onClose)
        .on('close', this.#onClose)
    }
    return this
  }

  next(): Promise<Batch> {
    if (this.#isOurs) giveBack(this.#given)
    // Who waits for the next batch in a loop still holds the one before, for hours perhaps.
    this.#given.length = 0
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (this.#isBeforeItsEnd) {
        this.#giveSoon()
        return
      }
      if (this.#ended || this.#isFull) {
        this.#give()
        return
      }
      this.#timer?.refresh()
      this.#request.resume()
      if (this.#size > 0) this.#giveSoon()
    })
  }

  /** The store has had enough: what is left of the body is the connection's to deal with. */
  async return(): Promise<Batch> {
    this.#gathered = []
    this.#given = []
    this.#size = 0
    this.#finish()
    return { done: true, value: undefined }
  }

  get #isFull(): boolean {
    return this.#size >= HighWater
  }

  /** Whether all bytes are here, as those of small bodies are that came in one piece with their head. */
  get #isHere(): boolean {
    const { headers, readableLength, readableFlowing } = this.#request
    return (
      readableLength > 0 &&
      readableLength === this.#left &&
      !readableFlowing &&
      // A chunked body may be longer than it should be, and that is to be seen.
      Number(headers['content-length']) === readableLength &&
      headers['transfer-encoding'] === undefined
    )
  }

  /** Then there is nothing to listen for, and nothing that could break off. */
  #takeWhole(): void {
    if (!isOnlyOurs(this.#request, 0)) this.#isOurs = false
    // Node 26 gives a piece at a time, those before it all that it has.
    while (this.#left > 0) {
      const piece: Buffer = this.#request.read()
      this.#left -= piece.length
      this.#keep(piece)
    }
    this.#ended = true
  }

  /** Whether the parser is still at work on the piece that brought the last byte: its packet is not to be answered yet. */
  get #isBeforeItsEnd(): boolean {
    return this.#ended && this.#size === 0 && !this.#error && !this.#request.complete
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!isOnlyOurs(this.#request, 1)) this.#isOurs = false
    this.#left -= chunk.length
    if (this.#left < 0) {
      // Only a chunked body can: where there is a Content-Length, Node holds it to it.
      this.#keep(chunk.subarray(0, chunk.length + this.#left))
      this.#fail(new BitsError('invalid-packet', 'The body is longer than Content-Range says'))
      return
    }
    this.#keep(chunk)
    if (this.#isFull) this.#request.pause()
    if (this.#isFull || this.#left === 0) this.#give()
    else this.#giveSoon()
  }

  readonly #onEnd = (): void => {
    if (this.#left === 0) this.#finish()
    else this.#fail(new BitsError('invalid-packet', 'The body is shorter than Content-Range says'))
  }

  readonly #onClose = (): void => this.#fail(new BitsError('disconnected'))

  /** Nothing has come for a while, as far as the timers know. */
  wasSilent(): void {
    const left = this.#left
    // What came while the process was busy is seen behind the timers only: its own silence is not the client's.
    setImmediate(() => {
      // Silence counts only while somebody listens: a slow disk is not the client's fault.
      if (this.#resolve && this.#left === left) this.#fail(new BitsError('timeout'))
      else if (!this.#ended) this.#timer?.refresh()
    })
  }

  /** A turn of the event loop is over. */
  turned(): void {
    this.#isDue = false
    if (this.#size > 0 || this.#ended) this.#give()
  }

  #keep(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#gathered.push(chunk)
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
    this.#give()
  }

  /**
   * At the end of this turn of the event loop, which first reads all that the kernel has of this connection: 64 KiB a
   * read, and a write for each of them would cost more than the reading.
   */
  #giveSoon(): void {
    if (this.#isDue || !this.#resolve) return
    this.#isDue = true
    setImmediate(onTurn, this)
  }

  /** Settles the promise of the batch that was asked for, if one was. */
  #give(): void {
    const [resolve, reject] = [this.#resolve, this.#reject]
    this.#resolve = this.#reject = undefined
    if (!resolve) return
    if (this.#size > 0) {
      const value = this.#gathered
      this.#given = value
      this.#gathered = []
      this.#size = 0
      // The next batch gathers while the store writes this one.
      if (!this.#ended) this.#request.resume()
      resolve({ done: false, value })
    } else if (this.#error) reject?.(this.#error)
    else resolve({ done: true, value: undefined })
  }
}

// One for all, and not a closure for each.
const onIdle = (body: IncomingBody): void => body.wasSilent()
const onTurn = (body: IncomingBody): void => body.turned()

/**
 * Whether a chunk of a body is Node's parser's own, which is whose memory we know, and comes to nobody but us: a meter or
 * a checksum in front of us may keep what it gets.
 * @param ours how many of the listeners are ours
 */
const isOnlyOurs = (
  request: IncomingMessage & { socket: { parser?: { incoming?: unknown } | null } },
  ours: number,
): boolean => request.socket.parser?.incoming === request && request.listenerCount('data') === ours

/**
 * Bytes that somebody read before us cannot be had twice, and waiting for them would be waiting for ever. A 500, so
 * that the clients come back when the application is mended.
 */
function readBefore(): BitsError {
  const cause = new Error(
    'A body parser in front of bitsUpload() read the body: mount bitsUpload() before it',
  )
  return new BitsError('store-failed', cause.message, { cause })
}

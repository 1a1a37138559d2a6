import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'

/** Bytes that may wait for the store before the socket is paused; about what one write takes at its best. */
const HighWater = 512 * 1024

export interface BodyOptions {
  /** Bytes that the body must have: no more, no fewer. */
  readonly length: number
  /** Milliseconds without a byte after which the reading ends with `timeout`. */
  readonly idleTimeout: number
}

/** A request's body on its way in. */
export interface IncomingBody {
  /** The batches of chunks that came since the last one was asked for. All of them, then the error if there was one. */
  read(): AsyncIterable<Buffer[]>
  /** Ends the reading, behind the bytes that have come, with this error. */
  interrupt(reason: Error): void
}

/**
 * Reads a request's body in batches: while one is being written the next gathers, so that one write takes what
 * otherwise several would, and memory stays at about a megabyte, whatever the body's length. The stream's own iterator would hand over each chunk for itself, at three times the price.
 *
 * Nothing is read, and no listener set, before `read()` is iterated; when the iteration ends none is left.
 */
export function incomingBody(request: IncomingMessage, options: BodyOptions): IncomingBody {
  let interruption: Error | undefined
  let onInterrupt: ((reason: Error) => void) | undefined
  return {
    read: () => ({
      [Symbol.asyncIterator]: () =>
        new Gathering(request, options, interruption, (listener) => {
          onInterrupt = listener
        }),
    }),
    interrupt(reason) {
      interruption ??= reason
      onInterrupt?.(reason)
    },
  }
}

class Gathering implements AsyncIterator<Buffer[]> {
  readonly #request: IncomingMessage
  readonly #timer: NodeJS.Timeout
  /** Bytes that may still come. */
  #left: number
  #gathered: Buffer[] = []
  #size = 0
  #ended = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  constructor(
    request: IncomingMessage,
    { length, idleTimeout }: BodyOptions,
    interruption: Error | undefined,
    setInterrupt: (listener: (reason: Error) => void) => void,
  ) {
    this.#request = request
    this.#left = length
    this.#timer = setTimeout(this.#onIdle, idleTimeout).unref()
    setInterrupt((reason) => this.#fail(reason))
    if (interruption) this.#fail(interruption)
    else if (request.readableDidRead) this.#fail(readBefore())
    else if (request.readableEnded) this.#onEnd()
    else if (request.destroyed) this.#onClose()
    else {
      request
        .on('data', this.#onData)
        .on('end', this.#onEnd)
        .on('error', this.#onClose)
        .on('close', this.#onClose)
    }
  }

  async next(): Promise<IteratorResult<Buffer[]>> {
    if (this.#gathered.length === 0 && !this.#ended) {
      this.#timer.refresh()
      this.#request.resume()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#gathered.length > 0) {
      const value = this.#gathered
      this.#gathered = []
      this.#size = 0
      if (!this.#ended) this.#request.resume()
      return { done: false, value }
    }
    if (this.#error) throw this.#error
    return { done: true, value: undefined }
  }

  /** The store has had enough: what is left of the body is the connection's to deal with. */
  async return(): Promise<IteratorResult<Buffer[]>> {
    this.#finish()
    this.#gathered = []
    return { done: true, value: undefined }
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#left -= chunk.length
    if (this.#left < 0) {
      // Only a chunked body can: where there is a Content-Length, Node holds it to it.
      this.#keep(chunk.subarray(0, chunk.length + this.#left))
      this.#fail(new BitsError('invalid-packet', 'The body is longer than Content-Range says'))
      return
    }
    this.#keep(chunk)
    if (this.#size >= HighWater) this.#request.pause()
    this.#rouse()
  }

  readonly #onEnd = (): void => {
    if (this.#left === 0) this.#finish()
    else this.#fail(new BitsError('invalid-packet', 'The body is shorter than Content-Range says'))
  }

  readonly #onClose = (): void => this.#fail(new BitsError('disconnected'))

  readonly #onIdle = (): void => {
    const left = this.#left
    // What came while the process was busy is seen behind the timers only: its own silence is not the client's.
    setImmediate(() => {
      // Silence counts only while somebody listens: a slow disk is not the client's fault.
      if (this.#wake && this.#left === left) this.#fail(new BitsError('timeout'))
      else if (!this.#ended) this.#timer.refresh()
    })
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
    clearTimeout(this.#timer)
    this.#request
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('error', this.#onClose)
      .off('close', this.#onClose)
    this.#request.pause()
    this.#rouse()
  }

  #rouse(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

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

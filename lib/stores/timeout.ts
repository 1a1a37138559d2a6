import { BitsError } from '../protocol/errors.ts'
import type { AppendOptions, Body, Session, Store } from './store.ts'

/**
 * The same store, but for those who wait: what does not settle in time is given up, as a fault of the store. A hung disk
 * or network would else hold a session, and its client's connection, for ever. The late call's result is nobody's any
 * more: a session that it tells is released. `append` is told by its signal, so that it ends as soon as it can.
 *
 * @param timeout in milliseconds; of a body only the time that the store takes, not that of whoever gives the bytes
 */
export function withTimeout(store: Store, timeout: number): Store {
  const release = (session: Session): void => store.release?.(session)
  return {
    ...(store.locker && { locker: store.locker }),
    create: (...args) => runWithTimeout(timeout, 'create', () => store.create(...args), release),
    load: (...args) => runWithTimeout(timeout, 'load', () => store.load(...args)),
    accept: (...args) => runWithTimeout(timeout, 'accept', () => store.accept(...args)),
    reject: (...args) => runWithTimeout(timeout, 'reject', () => store.reject(...args)),
    publish: (...args) => runWithTimeout(timeout, 'publish', () => store.publish(...args)),
    remove: (...args) => runWithTimeout(timeout, 'remove', () => store.remove(...args)),
    read: (session) => store.read(session),
    ...(store.paths && { paths: store.paths.bind(store) }),
    ...(store.release && { release }),
    loadReply: (...args) => runWithTimeout(timeout, 'loadReply', () => store.loadReply(...args)),

    saveReply(session, body) {
      const patience = new Deadline(timeout, 'saveReply')
      const given = body && new DeadlineBody(body, patience)
      return patience.wait(() => store.saveReply(session, given, patience))
    },

    append(session, body, options) {
      const patience = new Deadline(timeout, 'append')
      const paced = new DeadlineBody(body, patience)
      const given = new DeadlineOptions(options, patience)
      return patience.wait(() => store.append(session, paced, given), release)
    },

    async *list(options) {
      const sessions = store.list(options)[Symbol.asyncIterator]()
      try {
        for (;;) {
          const { done, value } = await runWithTimeout(timeout, 'list', () => sessions.next())
          if (done) return
          yield value
        }
      } finally {
        // Not awaited: behind a call that hangs it would hang too.
        void sessions.return?.().catch(() => {})
      }
    },
  }
}

const runWithTimeout = <T>(
  timeout: number,
  verb: string,
  run: () => Promise<T>,
  onLateResult?: (result: T) => void,
): Promise<T> => new Deadline(timeout, verb).wait(run, onLateResult)

/** Waiting for the bytes is no fault of the store: the clock stands still meanwhile. */
class DeadlineBody implements AsyncIterableIterator<readonly Uint8Array[]> {
  readonly #body: Body
  readonly #patience: Deadline
  #batches: AsyncIterator<readonly Uint8Array[]> | undefined

  constructor(body: Body, patience: Deadline) {
    this.#body = body
    this.#patience = patience
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<readonly Uint8Array[]>> {
    const { error } = this.#patience
    // Given up: another packet may have the session by now.
    if (error) return Promise.reject(error)
    this.#patience.pause()
    // Not before: nobody would end what a store has begun that fails before it asks.
    this.#batches ??= this.#body[Symbol.asyncIterator]()
    return this.#batches.next().then(this.#onBatch, this.#onError)
  }

  async return(): Promise<IteratorResult<readonly Uint8Array[]>> {
    await this.#batches?.return?.()
    return { done: true, value: undefined }
  }

  readonly #onBatch = (batch: IteratorResult<readonly Uint8Array[]>) => {
    this.#patience.start()
    return batch
  }

  readonly #onError = (error: unknown): never => {
    this.#patience.start()
    throw error
  }
}

/**
 * The options of an append with a time limit. The signal is created when the store first reads it: the file store, S3 and
 * Azure do in each append, the memory store never does. A class, because with a getter in an object literal V8 would create
 * a new hidden class for each object.
 */
class DeadlineOptions implements AppendOptions {
  readonly total: number
  readonly durable: boolean
  readonly publishes: boolean
  readonly #patience: Deadline

  constructor({ total, durable, publishes = false }: AppendOptions, patience: Deadline) {
    this.total = total
    this.durable = durable
    this.publishes = publishes
    this.#patience = patience
  }

  get signal(): AbortSignal {
    return this.#patience.signal
  }
}

/** A clock that ends a wait, and that may stand still: then there is no timer, for thousands may wait for their bytes. */
class Deadline {
  readonly #timeout: number
  readonly #verb: string
  #late: AbortController | undefined
  #timer: NodeJS.Timeout | undefined
  #isOver = false
  #error: Error | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(timeout: number, verb: string) {
    this.#timeout = timeout
    this.#verb = verb
  }

  /** What the wait was ended with. */
  get error(): Error | undefined {
    return this.#error
  }

  /** Tells when the wait was ended. */
  get signal(): AbortSignal {
    this.#late ??= new AbortController()
    if (this.#error) this.#late.abort(this.#error)
    return this.#late.signal
  }

  start(): void {
    if (!this.#isOver) this.#timer ??= setTimeout(onTime, this.#timeout, this).unref()
  }

  pause(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** @param onLateResult gets a result that nobody waited for */
  wait<Result>(run: () => Promise<Result>, onLateResult?: (result: Result) => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      // Before the work: that may stop it.
      this.start()
      begin(run).then(
        (result) => {
          this.#end()
          if (this.#error) onLateResult?.(result)
          resolve(result)
        },
        (error) => {
          this.#end()
          reject(error)
        },
      )
    })
  }

  expire(): void {
    const text = `store.${this.#verb}() did not settle within ${this.#timeout} ms`
    this.#error = new BitsError('store-failed', text, { cause: new Error(text) })
    this.#late?.abort(this.#error)
    this.#reject?.(this.#error)
  }

  #end(): void {
    this.pause()
    this.#isOver = true
  }
}

/** What throws at once rejects, too. */
function begin<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return Promise.resolve(run())
  } catch (error) {
    return Promise.reject(error)
  }
}

const onTime = (patience: Deadline): void => patience.expire()

import { BitsError } from '../protocol/errors.ts'
import type { Body, Session, Store } from './store.ts'

/**
 * Wraps a store so that each asynchronous call rejects with `store-failed` if it does not settle within the timeout.
 * Without a timeout, a disk or network that hangs would hold the session and the connection of its client
 * forever.
 *
 * A call that settles later is ignored, but `release` is called for the session that a late `create` or
 * `append` returns. For `append` and `saveReply` the timeout aborts `signal`, and the body yields no more
 * batches.
 *
 * @param timeout milliseconds. The time that the store waits for a batch of a body does not count
 */
export function withTimeout<Held extends Session>(store: Store<Held>, timeout: number): Store<Held> {
  const release = (session: Held): void => store.release?.(session)
  const run = <Result>(
    method: string,
    call: (deadline: Deadline) => Promise<Result>,
    onLateResult?: (late: Result) => void,
  ) => new Deadline(method, timeout).run(call, onLateResult)
  return {
    ...(store.locker && { locker: store.locker }),
    ...(store.paths && { paths: store.paths.bind(store) }),
    ...(store.release && { release }),
    create: (...args) => run('create', () => store.create(...args), release),
    load: (...args) => run('load', () => store.load(...args)),
    accept: (...args) => run('accept', () => store.accept(...args)),
    reject: (...args) => run('reject', () => store.reject(...args)),
    publish: (...args) => run('publish', () => store.publish(...args)),
    read: (session) => store.read(session),
    loadReply: (...args) => run('loadReply', () => store.loadReply(...args)),
    remove: (...args) => run('remove', () => store.remove(...args)),

    append: (session, body, options) =>
      run(
        'append',
        (deadline) => {
          const limited = { ...options, signal: deadline.signalWith(options.signal) }
          return store.append(session, pausing(body, deadline), limited)
        },
        release,
      ),
    saveReply: (session, body, options) =>
      run('saveReply', (deadline) => {
        const signal = deadline.signalWith(options?.signal)
        return store.saveReply(session, body && pausing(body, deadline), { signal })
      }),
    async *list(options) {
      const sessions = store.list(options)[Symbol.asyncIterator]()
      try {
        for (;;) {
          const { done, value } = await run('list', () => sessions.next())
          if (done) return
          yield value
        }
      } finally {
        // Not awaited: after a call that hangs it would hang too.
        void sessions.return?.().catch(() => {})
      }
    },
  }
}

/** The same body. The deadline is paused while the store waits for a batch. */
function pausing(body: Body, deadline: Deadline): Body {
  let batches: AsyncIterator<readonly Uint8Array[]> | undefined
  const iterator: AsyncIterableIterator<readonly Uint8Array[]> = {
    [Symbol.asyncIterator]: () => iterator,
    async next() {
      // After the timeout another packet may have acquired the session.
      if (deadline.error) throw deadline.error
      deadline.pause()
      try {
        // Not earlier: if the store fails before it reads the body, nothing would end the iteration.
        batches ??= body[Symbol.asyncIterator]()
        return await batches.next()
      } finally {
        deadline.resume()
      }
    },
    async return() {
      await batches?.return?.()
      return { done: true, value: undefined }
    },
  }
  return iterator
}

/** The time limit of one call. A paused one has no timer, because thousands of uploads may wait for bytes. */
class Deadline {
  readonly #method: string
  readonly #timeout: number
  readonly #controller = new AbortController()
  #timer: NodeJS.Timeout | undefined
  /** Set while the call runs. */
  #reject: ((error: BitsError) => void) | undefined
  /** Set at the timeout. */
  error: BitsError | undefined

  constructor(method: string, timeout: number) {
    this.#method = method
    this.#timeout = timeout
  }

  /** Aborted at the timeout, or by the signal of the caller. */
  signalWith(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal
  }

  pause(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  resume(): void {
    if (this.#reject) this.#timer ??= setTimeout(() => this.#expire(), this.#timeout).unref()
  }

  /** @param onLateResult called with a result that arrives after the timeout */
  run<Result>(
    call: (deadline: this) => Promise<Result>,
    onLateResult?: (late: Result) => void,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      // Before the call, which may pause it at once.
      this.resume()
      const onResult = (result: Result): void => {
        if (this.error) onLateResult?.(result)
        resolve(result)
      }
      // A promise of its own, so that a method that throws also rejects.
      new Promise<Result>((settle) => settle(call(this))).then(onResult, reject).then(() => this.#end())
    })
  }

  #end(): void {
    this.pause()
    this.#reject = undefined
  }

  #expire(): void {
    const text = `store.${this.#method}() did not settle within ${this.#timeout} ms`
    this.error = new BitsError('store-failed', text, { cause: new Error(text) })
    this.#controller.abort(this.error)
    this.#reject?.(this.error)
  }
}

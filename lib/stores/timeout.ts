import { BitsError } from '../protocol/errors.ts'
import type { AppendOptions, Body, DecisionLease, Session, Store } from './store.ts'

/** A store with a timeout. */
export interface TimedStore<Held extends Session = Session> extends Store<Held> {
  /**
   * Resolves when no call that exceeded the timeout still changes the session; undefined if none does, or if the store is
   * shared. Until then its lock must not be released, because another process would change the same files.
   */
  settled(id: string): Promise<void> | undefined
}

/**
 * Wraps a store so that each asynchronous call rejects with `store-failed` if it does not settle within the timeout.
 * Without a timeout, a disk or network that hangs would hold the session and the connection of its client
 * forever.
 *
 * A call that settles later is ignored, but `release` is called for the session that a late `create` or
 * `append` returns. Until a late call that changes a session has settled, `load` of that session rejects, because both
 * could change its files at the same time. Not if the store is shared, because a late change of a session that was changed
 * meanwhile is rejected there. `acquireDecision` has no other timeout than its own. For `append` and `saveReply` the timeout aborts `signal`, and the body yields no more
 * batches.
 *
 * @param timeout milliseconds. The time that the store waits for a batch of a body does not count
 */
export function withTimeout<Held extends Session>(store: Store<Held>, timeout: number): TimedStore<Held> {
  const release = (session: Held): void => store.release?.(session)
  const run = <Result>(
    method: string,
    call: (deadline: Deadline) => Promise<Result>,
    onLateResult?: (late: Result) => void,
  ) => new Deadline(method, timeout).run(call, onLateResult)
  const lateCalls = new LateCalls()
  const change = <Result>(
    method: string,
    { id }: Session,
    call: (deadline: Deadline) => Promise<Result>,
    onLateResult?: (late: Result) => void,
  ) => new Deadline(method, timeout, store.isShared ? undefined : id, lateCalls).run(call, onLateResult)
  return {
    settled: (id) => lateCalls.settled(id),
    ...(store.locker && { locker: store.locker }),
    ...(store.isShared && { isShared: true }),
    ...(store.paths && { paths: store.paths.bind(store) }),
    ...(store.release && { release }),
    ...(store.acquireDecision && {
      acquireDecision: async (...args: Parameters<NonNullable<Store<Held>['acquireDecision']>>) => {
        const [session, options] = args
        const acquire = (signal: AbortSignal | undefined) =>
          store.acquireDecision?.(session, { ...options, ...(signal && { signal }) }) as Promise<
            DecisionLease<Held>
          >
        // The caller may wait without a limit.
        const lease = await (options.timeout === 0
          ? acquire(options.signal)
          : new Deadline('acquireDecision', timeout + options.timeout).run(
              (deadline) => acquire(deadline.signalWith(options.signal)),
              (late) => void late.release(),
            ))
        // The client gets its Ack even if the release hangs: the lease expires.
        const releaseLease = () => run('acquireDecision().release', () => lease.release()).catch(() => {})
        return { session: lease.session, release: releaseLease }
      },
    }),
    create: (...args) => run('create', () => store.create(...args), release),
    load: (...args) =>
      run('load', () => {
        lateCalls.assertNone(args[0])
        return store.load(...args)
      }),
    accept: (...args) => change('accept', args[0], () => store.accept(...args)),
    reject: (...args) => change('reject', args[0], () => store.reject(...args)),
    publish: (session, options) =>
      change('publish', session, (deadline) =>
        store.publish(session, { signal: deadline.signalWith(options?.signal) }),
      ),
    read: (session) => store.read(session),
    loadReply: (...args) => run('loadReply', () => store.loadReply(...args)),
    remove: (session, options) =>
      change('remove', session, (deadline) =>
        store.remove(session, { signal: deadline.signalWith(options?.signal) }),
      ),

    append: (session, body, options) =>
      change(
        'append',
        session,
        (deadline) => {
          const limited = new LimitedOptions(options, deadline)
          return store.append(session, new PausingBody(body, deadline), limited)
        },
        release,
      ),
    saveReply: (session, body, options) =>
      change('saveReply', session, (deadline) => {
        const signal = deadline.signalWith(options?.signal)
        return store.saveReply(session, body && new PausingBody(body, deadline), { signal })
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

/**
 * The same body. The deadline is paused while the store waits for a batch. A class without an async method, because
 * thousands of uploads may wait for bytes: with {@link LimitedOptions} it saves a tenth of the memory of each.
 */
class PausingBody implements AsyncIterableIterator<readonly Uint8Array[]> {
  readonly #body: Body
  readonly #deadline: Deadline
  #batches: AsyncIterator<readonly Uint8Array[]> | undefined

  constructor(body: Body, deadline: Deadline) {
    this.#body = body
    this.#deadline = deadline
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<readonly Uint8Array[]>> {
    const { error } = this.#deadline
    // After the timeout another packet may have acquired the session.
    if (error) return Promise.reject(error)
    this.#deadline.pause()
    // Not earlier: if the store fails before it reads the body, nothing would end the iteration.
    this.#batches ??= this.#body[Symbol.asyncIterator]()
    return this.#batches.next().then(this.#onBatch, this.#onError)
  }

  async return(): Promise<IteratorResult<readonly Uint8Array[]>> {
    await this.#batches?.return?.()
    return { done: true, value: undefined }
  }

  readonly #onBatch = (batch: IteratorResult<readonly Uint8Array[]>): typeof batch => {
    this.#deadline.resume()
    return batch
  }

  readonly #onError = (error: unknown): never => {
    this.#deadline.resume()
    throw error
  }
}

/** The options of an append, whose signal is created when the store reads it: most of a kilobyte. */
class LimitedOptions implements AppendOptions {
  readonly total: number
  readonly durable: boolean
  readonly publish: boolean
  readonly #callerSignal: AbortSignal | undefined
  readonly #deadline: Deadline

  constructor({ total, durable, publish = false, signal }: AppendOptions, deadline: Deadline) {
    this.total = total
    this.durable = durable
    this.publish = publish
    this.#callerSignal = signal
    this.#deadline = deadline
  }

  get signal(): AbortSignal {
    return this.#deadline.signalWith(this.#callerSignal)
  }
}

/** The calls that exceeded their timeout and still run, by session id. */
class LateCalls {
  readonly #calls = new Map<string, { count: number; readonly onSettled: (() => void)[] }>()

  begin(id: string): void {
    const calls = this.#calls.get(id) ?? { count: 0, onSettled: [] }
    calls.count += 1
    this.#calls.set(id, calls)
  }

  end(id: string): void {
    const calls = this.#calls.get(id)
    if (!calls) return
    calls.count -= 1
    if (calls.count > 0) return
    this.#calls.delete(id)
    for (const callback of calls.onSettled) callback()
  }

  settled(id: string): Promise<void> | undefined {
    const calls = this.#calls.get(id)
    return calls && new Promise((resolve) => calls.onSettled.push(resolve))
  }

  /** @throws {BitsError} `store-failed` */
  assertNone(id: string): void {
    if (!this.#calls.has(id)) return
    throw new BitsError('store-failed', 'A call for this session exceeded `storeTimeout` and still runs')
  }
}

/** The time limit of one call. A paused one has no timer, because thousands of uploads may wait for bytes. */
class Deadline {
  readonly #method: string
  readonly #timeout: number
  readonly #sessionId: string | undefined
  readonly #lateCalls: LateCalls | undefined
  #controller: AbortController | undefined
  #timer: NodeJS.Timeout | undefined
  /** Set while the call runs. */
  #reject: ((error: BitsError) => void) | undefined
  /** Set at the timeout. */
  error: BitsError | undefined

  /** @param sessionId set for a call whose late changes other calls must not meet */
  constructor(method: string, timeout: number, sessionId?: string, lateCalls?: LateCalls) {
    this.#method = method
    this.#timeout = timeout
    this.#sessionId = sessionId
    this.#lateCalls = lateCalls
  }

  /** Aborted at the timeout, or by the signal of the caller. */
  signalWith(signal: AbortSignal | undefined): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.error) this.#controller.abort(this.error)
    return signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal
  }

  pause(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  resume(): void {
    if (this.#reject) this.#timer ??= setTimeout(Deadline.#expire, this.#timeout, this).unref()
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
        this.#end()
        if (this.error) onLateResult?.(result)
        resolve(result)
      }
      const onError = (error: unknown): void => {
        this.#end()
        reject(error)
      }
      try {
        Promise.resolve(call(this)).then(onResult, onError)
      } catch (error) {
        onError(error)
      }
    })
  }

  #end(): void {
    this.pause()
    this.#reject = undefined
    if (this.error && this.#sessionId !== undefined) this.#lateCalls?.end(this.#sessionId)
  }

  static #expire(deadline: Deadline): void {
    const text = `store.${deadline.#method}() did not settle within ${deadline.#timeout} ms`
    deadline.error = new BitsError('store-failed', text, { cause: new Error(text) })
    if (deadline.#sessionId !== undefined) deadline.#lateCalls?.begin(deadline.#sessionId)
    deadline.#controller?.abort(deadline.error)
    deadline.#reject?.(deadline.error)
  }
}

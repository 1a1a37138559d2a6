import { BitsError } from '../protocol/errors.ts'
import type { Body, Store } from './store.ts'

/**
 * The same store, but for those who wait: what does not settle in time is given up, as a fault of the store. A hung disk
 * or network would else hold a session, and its client's connection, for ever. The late call's result is nobody's any
 * more; `append` is told by its signal, so that it ends as soon as it can.
 *
 * @param timeout in milliseconds; of a body only the time that the store takes, not that of whoever gives the bytes
 */
export function patientStore(store: Store, timeout: number): Store {
  return {
    ...(store.locker && { locker: store.locker }),
    create: (...args) => within(timeout, 'create', () => store.create(...args)),
    load: (...args) => within(timeout, 'load', () => store.load(...args)),
    accept: (...args) => within(timeout, 'accept', () => store.accept(...args)),
    refuse: (...args) => within(timeout, 'refuse', () => store.refuse(...args)),
    publish: (...args) => within(timeout, 'publish', () => store.publish(...args)),
    remove: (...args) => within(timeout, 'remove', () => store.remove(...args)),
    read: (session) => store.read(session),
    ...(store.paths && { paths: store.paths.bind(store) }),
    ...(store.release && { release: store.release.bind(store) }),
    loadReply: (...args) => within(timeout, 'loadReply', () => store.loadReply(...args)),

    async keepReply(session, body, options) {
      const late = new AbortController()
      const patience = new Patience(timeout, 'keepReply', late)
      const given = body && paced(body, patience)
      return patience.race(store.keepReply(session, given, { ...options, signal: late.signal }))
    },

    async append(session, body, options) {
      const late = new AbortController()
      const signal = late.signal
      const patience = new Patience(timeout, 'append', late)
      const work = store.append(session, paced(body, patience), { ...options, signal })
      return patience.race(work)
    },

    async *list(options) {
      const sessions = store.list(options)[Symbol.asyncIterator]()
      try {
        for (;;) {
          const { done, value } = await within(timeout, 'list', () => sessions.next())
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

const within = <T>(timeout: number, verb: string, run: () => Promise<T>): Promise<T> => {
  const patience = new Patience(timeout, verb)
  return patience.race(run())
}

/** Waiting for the bytes is no fault of the store: the clock stands still meanwhile. */
async function* paced(body: Body, patience: Patience): AsyncGenerator<readonly Uint8Array[]> {
  const batches = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      patience.pause()
      const { done, value } = await batches.next()
      patience.start()
      if (done) return
      yield value
    }
  } finally {
    patience.start()
    await batches.return?.()
  }
}

/** A clock that ends a wait. */
class Patience {
  readonly #timeout: number
  readonly #giveUp: () => void
  readonly #late: Promise<never>
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor(timeout: number, verb: string, late?: AbortController) {
    const text = `store.${verb}() did not settle within ${timeout} ms`
    let reject: (error: Error) => void
    this.#late = new Promise((_, rejected) => {
      reject = rejected
    })
    this.#giveUp = () => {
      const error = new BitsError('store-failed', text, { cause: new Error(text) })
      late?.abort(error)
      reject(error)
    }
    this.#timeout = timeout
    this.start()
  }

  start(): void {
    this.pause()
    if (!this.#over) this.#timer = setTimeout(this.#giveUp, this.#timeout).unref()
  }

  pause(): void {
    clearTimeout(this.#timer)
  }

  async race<T>(work: Promise<T>): Promise<T> {
    try {
      return await Promise.race([work, this.#late])
    } finally {
      this.#over = true
      this.pause()
    }
  }
}

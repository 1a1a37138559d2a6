import type { Leaving, Lock } from '../locks/locker.ts'
import type { Session, Store } from '../stores/store.ts'

/** Milliseconds for which a session is taken as it was, before the store is asked again. */
const Fresh = 1000

/**
 * A session as one packet leaves it to the next. As long as nobody else can have had its lock, what is known of it is
 * what the store would say: to ask at each packet costs a fragment of 64 KiB more than to write it. Still the store
 * is asked once a second, for an operator may have cleared away by hand, and always after something failed.
 */
export class Kept implements Leaving {
  readonly #store: Store
  readonly #known = performance.now()
  #lock: Lock | undefined
  session: Session

  constructor(store: Store, session: Session) {
    this.#store = store
    this.session = session
  }

  /** Goes on with the session as the store told it anew. */
  renew(session: Session): void {
    this.drop()
    this.session = session
  }

  /** From here on it is held with this lock. */
  hold(lock: Lock): this {
    this.#lock = lock
    return this
  }

  /** From here on it is not held; returns the lock that it was held with. */
  letGo(): Lock | undefined {
    const lock = this.#lock
    this.#lock = undefined
    return lock
  }

  /** Whether its store allows that it is kept. */
  get canStay(): boolean {
    return this.#store.release !== undefined
  }

  get isFresh(): boolean {
    return performance.now() - this.#known < Fresh
  }

  drop(): void {
    this.#store.release?.(this.session)
  }
}

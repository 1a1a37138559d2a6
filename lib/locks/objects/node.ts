import type { ObjectSpace } from '../../objects/space.ts'
import type { Clock } from './clock.ts'
import { Life } from './life.ts'
import type { Timing } from './timing.ts'
import { listWants, removeWants, type Want } from './wants.ts'

/**
 * What others see of this process while it holds or wants locks: it is alive, and knows what it has. Idle it costs
 * nothing. Its timers keep no process alive: the locks of one that ends are nobody's after a while.
 */
export class Node {
  readonly #space: ObjectSpace
  readonly #timing: Timing
  readonly #clock: Clock
  readonly #letGo: (want: Want) => Promise<void>
  /** By nonce: how to tell the holder of a lock that it is wanted, or that it is being asked for. */
  readonly #locks = new Map<string, 'asked' | (() => void)>()
  #life: Life | undefined
  /** What all wait for who need it to be alive. */
  #beating: Promise<void> | undefined
  #interested = 0
  /** Ends the rounds that are made while somebody is interested. */
  #rounds: AbortController | undefined
  /** Cancels the end of a node that is idle. */
  #lingering: AbortController | undefined

  /** @param letGo sees to it that the node does not have a lock that it knows nothing of */
  constructor(space: ObjectSpace, timing: Timing, clock: Clock, letGo: (want: Want) => Promise<void>) {
    this.#space = space
    this.#timing = timing
    this.#clock = clock
    this.#letGo = letGo
  }

  /** Somebody holds or wants a lock. */
  enter(): void {
    this.#interested += 1
    this.#lingering?.abort()
    if (this.#rounds) return
    this.#rounds = new AbortController()
    const { signal } = this.#rounds
    // One that hangs holds up no other, and none loses its place among requests that wait for a connection.
    void repeat(this.#clock, this.#timing.beat, signal, async () => void this.#beat().catch(() => {}))
    void repeat(this.#clock, this.#timing.wants, signal, () => this.#hear())
  }

  /** And does so no more. */
  leave(): void {
    this.#interested -= 1
    if (this.#interested > 0) return
    this.#lingering = new AbortController()
    void this.#endLater(this.#lingering.signal)
  }

  /** Resolves when others can see that the node lives: to what it has to be called in locks. */
  async alive(): Promise<Life> {
    for (;;) {
      this.#life ??= new Life(this.#space, this.#timing, this.#clock)
      if (this.#life.isTimely) return this.#life
      this.#beating ??= this.#beat().finally(() => {
        this.#beating = undefined
      })
      await this.#beating
    }
  }

  /** Whether it is this node, and no other. */
  is(id: string): boolean {
    return this.#life?.id === id
  }

  /** Whether a lock that was taken under this id is still the node's for sure, and will be for the time of a request. */
  isSafe(id: string): boolean {
    return this.#life !== undefined && this.is(id) && this.#life.isSafe
  }

  /** Whether somebody here has that lock, or is asking for it. */
  knows(nonce: string): boolean {
    return this.#locks.has(nonce)
  }

  /** A lock is about to be asked for: it is not to be let go for being unknown. */
  ask(nonce: string): void {
    this.#locks.set(nonce, 'asked')
  }

  hold(nonce: string, wanted: () => void): void {
    this.#locks.set(nonce, wanted)
  }

  drop(nonce: string): void {
    this.#locks.delete(nonce)
  }

  async #beat(): Promise<void> {
    const life = this.#life
    try {
      await life?.beat()
    } finally {
      // It goes on under another id. Whoever holds a lock may not be the only one.
      if (life?.isLate && this.#life === life) {
        this.#end()
        for (const wanted of this.#locks.values()) if (wanted !== 'asked') wanted()
      }
    }
  }

  /** Ends the node after the linger time, unless the signal is aborted before. */
  async #endLater(signal: AbortSignal): Promise<void> {
    await this.#clock.delay(this.#timing.linger, { ref: false, signal }).catch(() => {})
    if (signal.aborted) return
    this.#rounds?.abort()
    this.#rounds = undefined
    this.#end()
  }

  /** Ends a life. What bears its id is void as soon as its heartbeat is gone. */
  #end(): void {
    const life = this.#life
    this.#life = undefined
    // What fails here is cleared away when others find that the heartbeat stands still.
    if (life) void this.#bury(life).catch(() => {})
  }

  async #bury(life: Life): Promise<void> {
    await life.end()
    await removeWants(this.#space, life.id, await this.#wantsOf(life.id))
  }

  /** Tells those who hold what is wanted. */
  async #hear(): Promise<void> {
    if (!this.#life) return
    const { id } = this.#life
    const heard: Want[] = []
    for (const want of await this.#wantsOf(id)) if (await this.#answer(want)) heard.push(want)
    if (heard.length > 0) await removeWants(this.#space, id, heard)
  }

  /** Whether a want is dealt with. */
  async #answer(want: Want): Promise<boolean> {
    const wanted = this.#locks.get(want.nonce)
    try {
      if (wanted === undefined) await this.#letGo(want)
      // Else the lock is there, but the answer is not.
      else if (wanted !== 'asked') wanted()
      return wanted !== 'asked'
    } catch {
      return false
    }
  }

  async #wantsOf(id: string): Promise<Want[]> {
    const wants: Want[] = []
    const signal = this.#clock.timeout(this.#timing.death)
    for await (const want of listWants(this.#space, id, { signal })) wants.push(want)
    return wants
  }
}

/** Does something every so many milliseconds, well or not. */
async function repeat(
  clock: Clock,
  every: number,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await clock
      .delay(every, { ref: false, signal })
      .then(work)
      .catch(() => {})
  }
}

import { randomUUID } from 'node:crypto'
import type { ObjectSpace } from '../../objects/space.ts'
import { atMostSince, type Clock, type Moment, now } from './clock.ts'
import { nodeKey } from './keys.ts'
import type { Timing } from './timing.ts'

/**
 * A node under one id, which it has until others may have taken it for dead, and never again. None of its heartbeats has
 * stood still for longer than since the last one that was answered was sent, for that one was seen thereafter.
 */
export class Life {
  readonly id: string = randomUUID()
  readonly #space: ObjectSpace
  readonly #timing: Timing
  readonly #clock: Clock
  /** When the last heartbeat that was answered was sent. */
  #beaten: Moment | undefined
  /** Those that were sent and not answered yet. */
  readonly #beats = new Set<Promise<unknown>>()

  constructor(space: ObjectSpace, timing: Timing, clock: Clock) {
    this.#space = space
    this.#timing = timing
    this.#clock = clock
  }

  /** Others may have taken it for dead. It stays so. The clocks of two machines do not run quite at the same speed. */
  get isLate(): boolean {
    return this.#beaten !== undefined && atMostSince(this.#clock, this.#beaten) >= 0.9 * this.#timing.death
  }

  /** Nobody can have taken it for dead so far. */
  get isTimely(): boolean {
    return this.#beaten !== undefined && !this.isLate
  }

  /** Nor will anybody before what is asked of the service now has been done, or was given up. */
  get isSafe(): boolean {
    return this.#beaten !== undefined && atMostSince(this.#clock, this.#beaten) < this.#timing.death / 2
  }

  /** Resolves when others can see that it lives, or that it did too late. */
  async beat(): Promise<void> {
    const begun = now(this.#clock)
    // Something new each time: on S3 the same bytes are the same version.
    const beat = this.#space.put(nodeKey(this.id), [Buffer.from(randomUUID())], {
      signal: this.#clock.timeout(this.#timing.death),
    })
    this.#beats.add(beat)
    try {
      await beat
      // Answers do not come in the order in which the heartbeats were sent.
      if (this.isLate) return
      if (!this.#beaten || begun.monotonic > this.#beaten.monotonic) this.#beaten = begun
    } finally {
      this.#beats.delete(beat)
    }
  }

  /** Tells others that it is no more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#beats)
    await this.#space.remove([nodeKey(this.id)])
  }
}

import { setTimeout as delay } from 'node:timers/promises'

/** The time and the random numbers that an upload uses. */
export interface Clock {
  /** Milliseconds since 1970, because a job file passes such times to another process. */
  now(): number
  /** Waits, and rejects with the signal's reason if the signal is aborted. */
  wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void>
  /** A number from 0 (inclusive) to 1 (exclusive). */
  random(): number
}

export const systemClock: Clock = {
  now: Date.now,
  random: Math.random,
  async wait(milliseconds, signal) {
    try {
      await delay(milliseconds, undefined, { ...(signal && { signal }) })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
  },
}

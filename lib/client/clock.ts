import { setTimeout as delay } from 'node:timers/promises'

/** Time and chance, as far as an upload goes by them. */
export interface Clock {
  /** Milliseconds since 1970: some of them are written down for another process. */
  now(): number
  /** Rejects with the signal's reason when that is aborted. */
  wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void>
  /** From 0 up to, but not, 1. */
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

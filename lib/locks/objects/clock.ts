import { setTimeout as delay } from 'node:timers/promises'

export interface DelayOptions {
  /** Rejects the delay when aborted. */
  readonly signal?: AbortSignal
  /** Whether the delay keeps the process alive. Default: true */
  readonly ref?: boolean
}

/** The source of time of a locker. Durations are milliseconds. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never set back, but may stand still while the machine sleeps. */
  monotonic(): number
  /** Milliseconds since 1970; may be set back. */
  wall(): number
  delay(ms: number, options?: DelayOptions): Promise<void>
  /** A signal that is aborted after `ms`. It does not keep the process alive. */
  timeout(ms: number): AbortSignal
}

export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  delay: (ms, options) => delay(ms, undefined, options),
  timeout: (ms) => AbortSignal.timeout(ms),
}

/** A moment of this process, by both of its clocks. */
export interface Moment {
  readonly monotonic: number
  readonly wall: number
}

export const now = (clock: Clock): Moment => ({ monotonic: clock.monotonic(), wall: clock.wall() })

/**
 * Upper bound of the milliseconds since a moment: the monotonic clock may stand still while the machine sleeps, and the
 * wall clock may be set back.
 */
export const atMostSince = (clock: Clock, { monotonic, wall }: Moment): number =>
  Math.max(clock.monotonic() - monotonic, clock.wall() - wall)

/** A moment of this process, by both of its clocks. */
export interface Moment {
  readonly monotonic: number
  readonly wall: number
}

export const now = (): Moment => ({ monotonic: performance.now(), wall: Date.now() })

/**
 * No fewer milliseconds than have passed since: the one clock may stand still while the machine sleeps, the other one may
 * be set back.
 */
export const atMostSince = ({ monotonic, wall }: Moment): number =>
  Math.max(performance.now() - monotonic, Date.now() - wall)

import type { Case } from './case.ts'

/** Seconds, as a machine of two cores takes them: until server and client have begun, and to clear up behind them. */
const Begin = 0.35
const ClearUp = { tmpfs: 0.2, disk: 0.8 }
/** Bytes a second, and silent uploads. */
const Speed = 500e6
const Silent = 500

/** Seconds that a case takes, roughly. */
export function estimate(
  { unit, uploads, size, files, contestants, place, times = 1, warmUps = 1 }: Case,
  { rounds, time, warmUp }: { readonly rounds: number; readonly time: number; readonly warmUp: number },
): number {
  const pressed = files === undefined ? (warmUps * warmUp + time) / 1000 : (uploads * files * size) / Speed
  const work = unit === 'bytes/upload' ? 1 + uploads / Silent : pressed
  return rounds * times * contestants.length * (Begin + work + ClearUp[place])
}

/** As people say it. */
export function duration(seconds: number): string {
  return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`
}

import type { Case } from './case.ts'

/** Seconds on a machine with two cores: to start server and client, and to remove the files of a run. */
const StartSeconds = 0.35
const CleanUpSeconds = { tmpfs: 0.2, disk: 0.8 }
const BytesPerSecond = 500e6
const SecondsPerFile = 0.001
const SilentUploadsPerSecond = 500

/** @returns the approximate duration of a case, in seconds */
export function estimate(
  { unit, uploads, size, files, candidates, medium, roundsFactor = 1, warmUpFactor = 1 }: Case,
  { rounds, time, warmUp }: { readonly rounds: number; readonly time: number; readonly warmUp: number },
): number {
  const transfer =
    files === undefined
      ? (warmUpFactor * warmUp + time) / 1000
      : uploads * files * (size / BytesPerSecond + SecondsPerFile)
  const work = unit === 'bytes/upload' ? 1 + uploads / SilentUploadsPerSecond : transfer
  return rounds * roundsFactor * candidates.length * (StartSeconds + work + CleanUpSeconds[medium])
}

/** A duration as text, in seconds or minutes. */
export function duration(seconds: number): string {
  return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`
}

import type { Growth } from './growth.ts'
import type { Machine } from './machine.ts'
import type { Result } from './rounds.ts'
import type { Verdict } from './targets.ts'

/** All that a run of the benchmark found: what `--json` writes. */
export interface Report {
  readonly machine: Machine
  readonly isQuick: boolean
  readonly rounds: number
  /** Milliseconds that each run was measured. */
  readonly time: number
  /** How long all of it took. */
  readonly seconds: number
  readonly results: readonly Result[]
  readonly growth: readonly Growth[]
  readonly verdicts: readonly Verdict[]
}

import type { Case } from './case.ts'
import { ClientFiles, runClient } from './client-run.ts'
import { LoadClient } from './load-client.ts'
import type { Pool } from './pool.ts'
import { type RunOptions, type RunResult, run } from './run.ts'
import { RunDirectories } from './run-directories.ts'

/** Of several measurements. */
interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** The results of all runs of one candidate. */
export interface CandidateResult {
  readonly candidate: string
  /** In the case's unit. */
  readonly value: Spread
  /** Medians of the figures in {@link RunResult}. */
  readonly cpu: number
  readonly peak: number
  readonly client: number
  /** Only over object services: requests to the service for each upload, and these by kind. */
  readonly requests?: number
  readonly requestKinds?: Readonly<Record<string, number>>
  /** Only over object services: the number of objects that are left and are no files, and some names. */
  readonly left?: number
  readonly leftNames?: readonly string[]
}

export interface CaseResult {
  readonly name: string
  readonly unit: Case['unit']
  /** Duration of all runs. */
  readonly seconds: number
  readonly rows: readonly CandidateResult[]
  /** The error, if a run failed; then there are no rows. */
  readonly failure?: string
}

/**
 * Runs the candidates of a case in turns, A B A B ..., so that changes in the machine's speed affect all of
 * them.
 */
export async function measure(
  wanted: Case,
  options: RunOptions & { readonly rounds: number },
  pool?: Pool,
): Promise<CaseResult> {
  const { name, unit, candidates, roundsFactor = 1 } = wanted
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  const directories = new RunDirectories(wanted.medium, pool)
  const results = candidates.map((): RunResult[] => [])
  // A client closes its silent uploads only when it ends.
  const needsNewClient = unit === 'bytes/upload'
  let client = new LoadClient()
  const files = candidates.some((candidate) => candidate.client) ? new ClientFiles(wanted) : undefined
  try {
    await files?.create()
    for (let round = 0; round < options.rounds * roundsFactor; round += 1) {
      for (const [index, candidate] of candidates.entries()) {
        const directory = await directories.create()
        const oneRun = () =>
          files
            ? runClient(wanted, candidate, files, directory, options)
            : run(client, wanted, candidate, directory, options)
        results[index]?.push(await directories.runWithPool(oneRun))
        if (needsNewClient) {
          await client.end()
          client = new LoadClient()
        }
        await directories.afterRun(unit === 'MB/s')
      }
    }
  } catch (error) {
    return { name, unit, seconds: seconds(), rows: [], failure: String(error) }
  } finally {
    await client.end()
    await files?.remove()
    await directories.removeAll()
  }
  const rows = candidates.map((candidate, index) => summarize(candidate.name, results[index] ?? []))
  return { name, unit, seconds: seconds(), rows }
}

/** The medians of all runs of a candidate. */
export const summarize = (candidate: string, results: readonly RunResult[]): CandidateResult => ({
  candidate,
  value: spreadOf(results.map(({ value }) => value)),
  cpu: spreadOf(results.map(({ cpu = Number.NaN }) => cpu)).median,
  peak: spreadOf(results.map(({ peak }) => peak)).median,
  client: spreadOf(results.map(({ client = Number.NaN }) => client)).median,
})

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
  }
}

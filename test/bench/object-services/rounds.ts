import { hasCeph } from '../../services/ceph-programs.ts'
import { LoadClient } from '../load-client.ts'
import { type CaseResult, summarize } from '../rounds.ts'
import type { RunResult } from '../run.ts'
import type { ServerOptions } from '../server.ts'
import type { ObjectCase, ServiceName } from './cases.ts'
import { countRequests, measureObjects } from './run.ts'

/** @returns why a service cannot be measured on this machine; undefined if it can */
export const missingService = (service: ServiceName): string | undefined =>
  service === 'Ceph' && !hasCeph() ? 'Ceph is missing (.ci/ceph downloads it)' : undefined

/**
 * Runs the candidates of a case in turns, A B A B ..., and then each once more to count its requests, because
 * counting takes time.
 */
export async function measureObjectCase(
  wanted: ObjectCase,
  options: ServerOptions & { readonly rounds: number },
): Promise<CaseResult> {
  const { name, unit, candidates } = wanted
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  const results = candidates.map((): RunResult[] => [])
  const client = new LoadClient()
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      for (const [index, candidate] of candidates.entries()) {
        results[index]?.push(await measureObjects(client, wanted, candidate, options))
      }
    }
    const rows = []
    for (const [index, candidate] of candidates.entries()) {
      // The delay does not change the requests.
      const counts = wanted.delay === 0 ? await countRequests(client, wanted, candidate, options) : {}
      rows.push({ ...summarize(candidate.name, results[index] ?? []), ...counts })
    }
    return { name, unit, seconds: seconds(), rows }
  } catch (error) {
    return { name, unit, seconds: seconds(), rows: [], failure: String(error) }
  } finally {
    await client.end()
  }
}

/** Seconds of a run: all starts, the warm-up, the check, and 256 MiB or 200 small files. */
const RunSeconds = { direct: 15, delayed: 25, quick: 5 }

/** @returns the approximate duration of a case, in seconds */
export function estimateObjects({ delay, candidates }: ObjectCase, rounds: number, isQuick: boolean): number {
  const run = isQuick ? RunSeconds.quick : delay === 0 ? RunSeconds.direct : RunSeconds.delayed
  return candidates.length * (rounds + (delay === 0 ? 1 : 0)) * run
}

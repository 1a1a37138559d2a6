import type { Case } from './case.ts'
import { LoadClient } from './load-client.ts'
import { type Spread, spreadOf } from './median.ts'
import { Rooms } from './places.ts'
import type { Pool } from './pool.ts'
import { type RunOptions, run, type Seen } from './run.ts'

/** What all runs of one contestant showed. */
export interface Row {
  readonly contestant: string
  /** In the case's unit. */
  readonly value: Spread
  /** See {@link Seen}; medians. */
  readonly cpu: number
  readonly peak: number
  readonly client: number
}

export interface Result {
  readonly name: string
  readonly unit: Case['unit']
  /** How long all its runs took. */
  readonly seconds: number
  readonly rows: readonly Row[]
  /** Why there are none. */
  readonly failure?: string
}

/** Runs a case's contestants in turns, A B A B ...: what changes in the machine meanwhile changes for all. */
export async function measure(
  wanted: Case,
  options: RunOptions & { readonly rounds: number },
  pool?: Pool,
): Promise<Result> {
  const { name, unit, contestants, times = 1 } = wanted
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1000
  const rooms = new Rooms(wanted.place, pool)
  const seen = contestants.map((): Seen[] => [])
  // What a client holds it holds until it ends.
  const isFresh = unit === 'bytes/upload'
  let load = new LoadClient()
  try {
    for (let round = 0; round < options.rounds * times; round += 1) {
      for (const [index, contestant] of contestants.entries()) {
        const room = await rooms.make()
        seen[index]?.push(await rooms.during(() => run(load, wanted, contestant, room, options)))
        if (isFresh) {
          await load.end()
          load = new LoadClient()
        }
        await rooms.leave(unit === 'MB/s')
      }
    }
  } catch (error) {
    return { name, unit, seconds: seconds(), rows: [], failure: String(error) }
  } finally {
    await load.end()
    await rooms.clear()
  }
  const rows = contestants.map((contestant, index) => rowOf(contestant.name, seen[index] ?? []))
  return { name, unit, seconds: seconds(), rows }
}

const rowOf = (contestant: string, seen: readonly Seen[]): Row => ({
  contestant,
  value: spreadOf(seen.map(({ value }) => value)),
  cpu: spreadOf(seen.map(({ cpu = Number.NaN }) => cpu)).median,
  peak: spreadOf(seen.map(({ peak }) => peak)).median,
  client: spreadOf(seen.map(({ client = Number.NaN }) => client)).median,
})

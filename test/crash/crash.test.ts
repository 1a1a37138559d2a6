import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { perform } from './perform.ts'

/**
 * `CRASH_KILLS=2000 npx vitest run test/crash/crash.test.ts` is the long form. `CRASH_SEED` repeats files, fragments and
 * aims; not how two processes are scheduled: what a seed found once it may find only at the second try.
 */
const kills = Number(process.env.CRASH_KILLS ?? 40)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))

it(
  `keeps every promise over ${kills} kills at random instants (CRASH_SEED=${seed})`,
  async () => {
    const counts = await perform(seed, kills, 1)
    expect(counts.kills).toBeGreaterThanOrEqual(kills)
    if (process.env.CRASH_KILLS) console.info(`CRASH_SEED=${seed}`, counts)
  },
  30_000 + kills * 1000,
)

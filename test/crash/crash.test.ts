import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { runCampaign } from './run-campaign.ts'

/** The short form of `crash.system.test.ts`. */
const kills = 8
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))

it(`Upload server: loses no acknowledged byte over ${kills} kills at random times (CRASH_SEED=${seed})`, {
  timeout: 90_000,
}, async () => {
  const counts = await runCampaign(seed, kills, 1)
  expect(counts.kills).toBeGreaterThanOrEqual(kills)
})

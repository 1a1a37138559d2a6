import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Campaign } from './campaign.ts'
import { Random } from './random.ts'
import { type Plan, Upload } from './upload.ts'

const Clients = 8
const MaxFileBytes = 1_000_000
/** Each file is a random range of these bytes, so that the contents of two files differ. */
const source = noise(4 * MaxFileBytes)
const folders = ['', '', 'logs/', 'logs/2026/'] as const

/**
 * Uploads files with several clients while the servers of one directory are killed. Resolves after this many
 * kills, when every upload has ended.
 * @throws {Error} for the first broken promise
 */
export async function runCampaign(
  seed: number,
  kills: number,
  servers: number,
  { inContainers = false } = {},
): Promise<Campaign['counts']> {
  const directory = await temporaryDirectory()
  mkdirSync(join(directory, 'logs', '2026'), { recursive: true })
  const campaign = new Campaign(directory, seed, kills)
  await campaign.start(servers, inContainers)
  const clients = Array.from({ length: Clients }, (_, client) => runClient(campaign, seed, client))
  await Promise.race([Promise.all(clients), campaign.failed])
  if (campaign.problem === undefined) await campaign.end()
  if (campaign.problem !== undefined) {
    throw new Error(`CRASH_SEED=${seed}, after ${campaign.counts.kills} kills: ${campaign.problem}`)
  }
  return campaign.counts
}

/** Runs one upload after another until the campaign is over. */
async function runClient(campaign: Campaign, seed: number, client: number): Promise<void> {
  const random = new Random(seed + 7919 * (client + 1))
  for (let upload = 1; !campaign.isOver; upload += 1) {
    await new Upload(campaign, random, plan(random, `${client}-${upload}`, `again-${client}`)).run()
  }
}

function plan(random: Random, newName: string, usedName: string): Plan {
  const size = random.pick([0, 1, 2, 100, 5000, 20_000, 60_000, 200_000, MaxFileBytes] as const)
  const length = size <= 2 ? size : 1 + random.below(size)
  const from = random.below(source.length - length)
  const overwrite = random.chance(0.4)
  const ending = random.chance(0.8) ? 'close' : random.pick(['cancel', 'close early'] as const)
  return {
    file: source.subarray(from, from + length),
    overwrite,
    name: `${random.pick(folders)}${overwrite && random.chance(0.7) ? usedName : newName}.bin`,
    ending: !overwrite && random.chance(0.05) ? 'name taken' : ending,
  }
}

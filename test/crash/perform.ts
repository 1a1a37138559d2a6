import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Random } from './random.ts'
import { Stage } from './stage.ts'
import { type Plan, Upload } from './upload.ts'

const Clients = 8
const MaxFile = 1_000_000
/** What all files are cut from: from different places, so that one cannot pass for another. */
const pool = noise(4 * MaxFile)
const folders = ['', '', 'logs/', 'logs/2026/'] as const

/**
 * Has many clients upload while servers on one directory are killed. Resolves when that many kills are done and every
 * upload that was begun is at its end.
 * @throws {Error} for the first thing that is not as it was promised
 */
export async function perform(seed: number, kills: number, servers: number): Promise<Stage['counts']> {
  const directory = await temporaryDirectory()
  mkdirSync(join(directory, 'logs', '2026'), { recursive: true })
  const stage = new Stage(directory, seed, kills)
  await stage.open(servers)
  const clients = Array.from({ length: Clients }, (_, client) => live(stage, seed, client))
  await Promise.race([Promise.all(clients), stage.failed])
  if (stage.problem === undefined) await stage.close()
  if (stage.problem !== undefined) {
    throw new Error(`CRASH_SEED=${seed}, after ${stage.counts.kills} kills: ${stage.problem}`)
  }
  return stage.counts
}

/** One upload after the other. */
async function live(stage: Stage, seed: number, client: number): Promise<void> {
  const random = new Random(seed + 7919 * (client + 1))
  for (let upload = 1; !stage.isOver; upload += 1) {
    await new Upload(stage, random, plan(random, `${client}-${upload}`, `again-${client}`)).run()
  }
}

function plan(random: Random, fresh: string, used: string): Plan {
  const size = random.pick([0, 1, 2, 100, 5000, 20_000, 60_000, 200_000, MaxFile] as const)
  const length = size <= 2 ? size : 1 + random.below(size)
  const from = random.below(pool.length - length)
  const overwrite = random.chance(0.4)
  const fate = random.chance(0.8) ? 'close' : random.pick(['cancel', 'close early'] as const)
  return {
    file: pool.subarray(from, from + length),
    overwrite,
    name: `${random.pick(folders)}${overwrite && random.chance(0.7) ? used : fresh}.bin`,
    fate: !overwrite && random.chance(0.05) ? 'name taken' : fate,
  }
}

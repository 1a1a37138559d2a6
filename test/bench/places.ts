import { spawnSync } from 'node:child_process'
import { rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { Place } from './case.ts'
import { Pool } from './pool.ts'
import { temporaryDirectory } from './temporary.ts'

/** Where memory comes from; undefined where there is none to measure. */
export const fillPool = async (time: number): Promise<Pool | undefined> =>
  (await whyNot('tmpfs')) === undefined ? Pool.fill(parents.tmpfs, time) : undefined

const parents: Record<Place, string> = { tmpfs: '/dev/shm', disk: tmpdir() }
/** The type of a tmpfs, in `statfs`. */
const Tmpfs = 0x01021994

/** Why a place cannot be measured here; undefined if it can. */
export async function whyNot(place: Place): Promise<string | undefined> {
  const found = await statfs(parents[place]).catch(() => undefined)
  if (!found) return `there is no ${parents[place]}`
  const isTmpfs = found.type === Tmpfs
  return isTmpfs === (place === 'tmpfs') ? undefined : `${parents[place]} is ${isTmpfs ? 'a' : 'no'} tmpfs`
}

/** The directories of one case. */
export class Rooms {
  readonly #place: Place
  readonly #pool: Pool | undefined
  readonly #made: string[] = []

  constructor(place: Place, pool: Pool | undefined) {
    this.#place = place
    this.#pool = place === 'tmpfs' ? pool : undefined
  }

  async make(): Promise<string> {
    const directory = await temporaryDirectory(parents[this.#place])
    this.#made.push(directory)
    return directory
  }

  /**
   * After a run. Many files stay on a disk until the case is over, for removing them slows the run that follows. What is
   * large goes at once, before the disk has written all of it, and the disk comes to rest; memory too, or into the pool.
   */
  async leave(isLarge: boolean): Promise<void> {
    if (isLarge && this.#pool) for (const room of this.#made) await this.#pool.take(room)
    if (isLarge || this.#place === 'tmpfs') await this.clear()
    if (this.#place === 'disk') spawnSync('sync', ['-f', parents.disk])
  }

  /** Lets a run have the memory of those before it. */
  async during<Result>(run: () => Promise<Result>): Promise<Result> {
    const end = new AbortController()
    // Without the pool memory is colder, and that is all.
    const serving = this.#pool?.serve(end.signal).catch(() => {})
    try {
      return await run()
    } finally {
      end.abort()
      await serving
    }
  }

  async clear(): Promise<void> {
    for (const directory of this.#made.splice(0)) await rm(directory, { recursive: true, force: true })
  }
}

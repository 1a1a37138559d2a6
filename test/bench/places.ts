import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Place } from './case.ts'

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
  readonly #made: string[] = []

  constructor(place: Place) {
    this.#place = place
  }

  async make(): Promise<string> {
    const directory = await mkdtemp(join(parents[this.#place], 'bits-upload-bench-'))
    this.#made.push(directory)
    return directory
  }

  /**
   * After a run. Many files stay on a disk until the case is over, for removing them slows the run that follows. What is
   * large goes at once, before the disk has written all of it, and the disk comes to rest; memory too, so that the next
   * run gets the same, which is warm.
   */
  async leave(isLarge: boolean): Promise<void> {
    if (isLarge || this.#place === 'tmpfs') await this.clear()
    if (this.#place === 'disk') spawnSync('sync', ['-f', parents.disk])
  }

  async clear(): Promise<void> {
    for (const directory of this.#made.splice(0)) await rm(directory, { recursive: true, force: true })
  }
}

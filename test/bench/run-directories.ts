import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Medium } from './case.ts'
import { Pool } from './pool.ts'

const parents: Record<Medium, string> = { tmpfs: '/dev/shm', disk: tmpdir() }
/** The type of a tmpfs in the result of `statfs`. */
const TmpfsType = 0x01021994

/** @returns why a medium cannot be measured on this machine; undefined if it can */
export async function unavailableReason(medium: Medium): Promise<string | undefined> {
  const parent = parents[medium]
  const statistics = await statfs(parent).catch(() => undefined)
  if (!statistics) return `${parent} does not exist`
  const isTmpfs = statistics.type === TmpfsType
  return isTmpfs === (medium === 'tmpfs') ? undefined : `${parent} is ${isTmpfs ? '' : 'not '}a tmpfs`
}

/** @returns undefined if this machine has no tmpfs */
export const fillPool = async (timeMs: number): Promise<Pool | undefined> =>
  (await unavailableReason('tmpfs')) === undefined
    ? Pool.fill(await temporaryDirectory('tmpfs'), timeMs)
    : undefined

/** The directories of the runs of one case. */
export class RunDirectories {
  readonly #medium: Medium
  readonly #pool: Pool | undefined
  readonly #created: string[] = []

  constructor(medium: Medium, pool: Pool | undefined) {
    this.#medium = medium
    this.#pool = medium === 'tmpfs' ? pool : undefined
  }

  async create(): Promise<string> {
    const directory = await temporaryDirectory(this.#medium)
    this.#created.push(directory)
    return directory
  }

  /**
   * Removes the directory of a run, or moves its files to the pool. Many small files stay on a disk until the
   * case is over, because removing them slows down the next run. Large files are removed at once, before the
   * disk has written all of them. Then waits until the disk is idle.
   */
  async afterRun(hasLargeFiles: boolean): Promise<void> {
    if (hasLargeFiles && this.#pool) {
      for (const directory of this.#created) await this.#pool.addFiles(directory)
    }
    if (hasLargeFiles || this.#medium === 'tmpfs') await this.removeAll()
    if (this.#medium === 'disk') spawnSync('sync', ['-f', parents.disk])
  }

  /** Gives the memory of earlier runs to this run while it writes. */
  async runWithPool<Result>(run: () => Promise<Result>): Promise<Result> {
    const end = new AbortController()
    // A failure of the pool only makes memory slower to get.
    const freeing = this.#pool?.freeDuringRun(end.signal).catch(() => {})
    try {
      return await run()
    } finally {
      end.abort()
      await freeing
    }
  }

  async removeAll(): Promise<void> {
    for (const directory of this.#created.splice(0)) await rm(directory, { recursive: true, force: true })
  }
}

const temporaryDirectories = new Set<string>()

/**
 * Creates a directory that is removed when the process exits, even early, because it may use gigabytes of
 * memory.
 */
export async function temporaryDirectory(medium: Medium): Promise<string> {
  if (temporaryDirectories.size === 0) process.once('exit', () => temporaryDirectories.forEach(removeSync))
  const directory = await mkdtemp(join(parents[medium], 'bits-upload-bench-'))
  temporaryDirectories.add(directory)
  return directory
}

const removeSync = (directory: string): void => rmSync(directory, { recursive: true, force: true })

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { end, start } from './process.ts'
import { RunDirectories } from './run-directories.ts'
import { number } from './table.ts'

/** Durations of operations, in milliseconds, while the directory contains this many sessions. */
export interface Growth {
  readonly sessions: number
  /** From the start of the process until it listens. */
  readonly startUp: number
  /** The first Create-Session, while the first sweep runs. */
  readonly first: number
  /** One Create-Session, measured one after the other. */
  readonly create: number
  readonly fragment: number
  /** A fragment of an upload that already has 4 GiB. */
  readonly far: number
  /** A fragment of an upload that began ten days ago and has received 1,000 fragments. */
  readonly old: number
  /**
   * With durability 'fragment', where each fragment appends to the journal: the first 50 fragments of an
   * upload.
   */
  readonly durable: number
  /** The same for 50 fragments after 1,000. */
  readonly oldDurable: number
  /** A listing of all sessions. */
  readonly list: number
  readonly sweep: number
}

/** The columns of growth tables. */
export const columns = {
  sessions: 'sessions',
  startUp: 'start-up',
  first: 'first',
  create: 'create',
  fragment: 'fragment',
  far: 'at 4 GiB',
  old: 'old',
  durable: 'durable',
  oldDurable: 'old durable',
  list: 'list',
  sweep: 'sweep',
} satisfies Record<keyof Growth, string>

const program = fileURLToPath(new URL('./servers/growth.mjs', import.meta.url))
const sessionCounts = { quick: [0, 1000], full: [0, 1000, 100_000] }
/** For the estimate. */
const [FixedSeconds, SecondsPerSession] = [6, 0.0011]

export const estimateGrowth = (isQuick: boolean): number =>
  sessionCounts[isQuick ? 'quick' : 'full'].reduce(
    (sum, sessions) => sum + FixedSeconds + sessions * SecondsPerSession,
    0,
  )

/**
 * Fills a directory with sessions, then measures in a new process. The directory is on tmpfs, because the
 * work that grows with the number of sessions does not depend on the disk, and filling a disk would take
 * minutes.
 */
export async function measureGrowth(isQuick: boolean, node: string): Promise<Growth[]> {
  const directories = new RunDirectories('tmpfs', undefined)
  const rows: Growth[] = []
  try {
    for (const sessions of isQuick ? sessionCounts.quick : sessionCounts.full) {
      const directory = await directories.create()
      const fillHalf = [node, program, directory, 'fill', String(sessions / 2)]
      await Promise.all([firstLine(0, fillHalf), firstLine(1, fillHalf)])
      rows.push({ sessions, ...JSON.parse(await firstLine(0, [node, program, directory, 'work'])) })
      await directories.removeAll()
    }
    return rows
  } finally {
    await directories.removeAll()
  }
}

/** Runs a program until it has printed a line. */
async function firstLine(core: 0 | 1, command: readonly string[]): Promise<string> {
  const child = start(core, command)
  const lines = createInterface({ input: child.stdout ?? process.stdin })
  const exit = once(child, 'exit').then(([code]) => Promise.reject(new Error(`growth ended with ${code}`)))
  const [line] = await Promise.race([once(lines, 'line'), exit])
  await end(child)
  return line
}

const keys = Object.keys(columns) as (keyof Growth)[]
const ColumnWidth = 12

export const growthTable = (rows: readonly Growth[]): string =>
  [
    'growth, in milliseconds',
    keys.map((key) => columns[key].padStart(ColumnWidth)).join(''),
    ...rows.map((row) => keys.map((key) => number(row[key]).padStart(ColumnWidth)).join('')),
    '',
  ].join('\n')

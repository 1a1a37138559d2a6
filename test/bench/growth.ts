import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Rooms } from './places.ts'
import { end, start } from './process.ts'
import { number } from './table.ts'

/** What work costs beside so many sessions that a directory holds; milliseconds. */
export interface Growth {
  readonly sessions: number
  /** From the process's begin until it listens. */
  readonly startUp: number
  /** Until the first session is there: the first sweep runs beside it. */
  readonly first: number
  /** Each, one after the other. */
  readonly create: number
  readonly fragment: number
  /** A fragment of an upload that is 4 GiB long already. */
  readonly far: number
  /** A fragment of an upload that began ten days ago, and has had 1,000. */
  readonly old: number
  /** With durability 'fragment', where each fragment adds to the record: the first 50 of an upload, and 50 after 1,000. */
  readonly noted: number
  readonly oldNoted: number
  /** All sessions. */
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
  noted: 'noted',
  oldNoted: 'old noted',
  list: 'list',
  sweep: 'sweep',
} satisfies Record<keyof Growth, string>

const program = fileURLToPath(new URL('./servers/growth.mjs', import.meta.url))
const counts = { quick: [0, 1000], whole: [0, 1000, 100_000] }
/** Seconds, for the estimate: whatever the number of sessions, and for each of them. */
const [Begin, Each] = [6, 0.0011]

export const estimateGrowth = (isQuick: boolean): number =>
  counts[isQuick ? 'quick' : 'whole'].reduce((sum, sessions) => sum + Begin + sessions * Each, 0)

/**
 * Fills a directory with sessions, and has a fresh process work beside them. In memory: what grows with the number of
 * sessions is work, and a disk that has to be filled with them first would take minutes for it.
 */
export async function measureGrowth(isQuick: boolean, node: string): Promise<Growth[]> {
  const rooms = new Rooms('tmpfs', undefined)
  const found: Growth[] = []
  try {
    for (const sessions of isQuick ? counts.quick : counts.whole) {
      const directory = await rooms.make()
      const half = [node, program, directory, 'fill', String(sessions / 2)]
      await Promise.all([ask(0, half), ask(1, half)])
      found.push({ sessions, ...JSON.parse(await ask(0, [node, program, directory, 'work'])) })
      await rooms.clear()
    }
    return found
  } finally {
    await rooms.clear()
  }
}

/** The line that a program prints. */
async function ask(core: 0 | 1, command: readonly string[]): Promise<string> {
  const child = start(core, command)
  const lines = createInterface({ input: child.stdout ?? process.stdin })
  const gone = once(child, 'exit').then(([code]) => Promise.reject(new Error(`growth ended with ${code}`)))
  const [line] = await Promise.race([once(lines, 'line'), gone])
  await end(child)
  return line
}

const keys = Object.keys(columns) as (keyof Growth)[]
const Width = 11

export const growthTable = (found: readonly Growth[]): string =>
  [
    'growth, in milliseconds',
    keys.map((key) => columns[key].padStart(Width)).join(''),
    ...found.map((row) => keys.map((key) => number(row[key]).padStart(Width)).join('')),
    '',
  ].join('\n')

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
  /** All sessions. */
  readonly list: number
  readonly sweep: number
}

const program = fileURLToPath(new URL('./servers/growth.mjs', import.meta.url))
const counts = { quick: [0, 1000], whole: [0, 1000, 10_000, 100_000] }

/** Fills a directory with sessions, and has a fresh process work beside them. */
export async function measureGrowth(isQuick: boolean, node: string): Promise<Growth[]> {
  const rooms = new Rooms('disk')
  const found: Growth[] = []
  try {
    for (const sessions of isQuick ? counts.quick : counts.whole) {
      const directory = await rooms.make()
      await ask([node, program, directory, 'fill', String(sessions)])
      found.push({ sessions, ...JSON.parse(await ask([node, program, directory, 'work'])) })
    }
    return found
  } finally {
    await rooms.clear()
  }
}

/** The line that a program prints. */
async function ask(command: readonly string[]): Promise<string> {
  const child = start(0, command)
  const lines = createInterface({ input: child.stdout ?? process.stdin })
  const gone = once(child, 'exit').then(([code]) => Promise.reject(new Error(`growth ended with ${code}`)))
  const [line] = await Promise.race([once(lines, 'line'), gone])
  await end(child)
  return line
}

const columns = ['sessions', 'startUp', 'first', 'create', 'fragment', 'far', 'list', 'sweep'] as const

export const growthTable = (found: readonly Growth[]): string =>
  [
    'growth, in milliseconds',
    columns.map((column) => column.padStart(10)).join(''),
    ...found.map((row) => columns.map((column) => number(row[column]).padStart(10)).join('')),
    '',
  ].join('\n')

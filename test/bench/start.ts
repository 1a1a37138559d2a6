import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { canPin, end } from './process.ts'
import { RunDirectories } from './run-directories.ts'
import { number } from './table.ts'

/** How long a program takes to start, compared with Node alone. */
export interface Start {
  readonly name: string
  /** Milliseconds from the start of the process until it ends; of `serve`, until it has printed its URL. */
  readonly median: number
  readonly min: number
  /** The median of the differences to the starts of Node alone, each just before a start of the program. */
  readonly above: number
  /** The largest allowed difference in milliseconds; undefined for Node alone. */
  readonly target?: number
}

/** The columns of tables of starts. */
export const startColumns = {
  name: 'start',
  median: 'median',
  min: 'min',
  above: 'above Node',
  target: 'target',
} satisfies Record<keyof Start, string>

interface Program {
  readonly name: string
  /** Arguments of Node. */
  readonly args: (directory: string) => readonly string[]
  readonly target: number
  /** Whether the program runs until it is killed. */
  readonly isServer?: boolean
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const importOf = (name: string): Program => ({
  name: `import '${name}'`,
  args: () => ['--input-type=module', '--eval', `import '${name}'`],
  target: 60,
})

const programs: readonly Program[] = [
  ...[[], ['serve'], ['send'], ['jobs'], ['doctor']].map((command) => ({
    name: [...command, '--help'].join(' '),
    args: () => [main, ...command, '--help'],
    target: 60,
  })),
  importOf('express-bits-upload'),
  importOf('express-bits-upload/client'),
  {
    name: 'serve, until it listens',
    args: (directory) => [main, 'serve', '--host', '127.0.0.1', '--port', '0', directory],
    target: 110,
    isServer: true,
  },
]
const nodeAlone: Omit<Program, 'target'> = { name: 'Node alone', args: () => ['--eval', '0'] }

/** Starts of each program in each round of the benchmark. */
const StartsPerRound = { quick: 5, full: 10 }
/** For the estimate. */
const SecondsPerStart = 0.12

const startsOf = (isQuick: boolean, rounds: number): number =>
  rounds * StartsPerRound[isQuick ? 'quick' : 'full']

export const estimateStart = (isQuick: boolean, rounds: number): number =>
  startsOf(isQuick, rounds) * 2 * programs.length * SecondsPerStart

/**
 * Starts the programs in turns, each directly after Node alone, so that changes in the speed of the machine
 * affect both. Before the first round each is started once, so that its files are in the page cache.
 */
export async function measureStart(isQuick: boolean, rounds: number, node: string): Promise<Start[]> {
  const directories = new RunDirectories('tmpfs', undefined)
  const times = programs.map((): { readonly bare: number; readonly time: number }[] => [])
  try {
    const directory = await directories.create()
    for (let count = -1; count < startsOf(isQuick, rounds); count += 1) {
      for (const [index, program] of programs.entries()) {
        const bare = await timeOfStart(node, nodeAlone, directory)
        const time = await timeOfStart(node, program, directory)
        if (count >= 0) times[index]?.push({ bare, time })
      }
    }
  } finally {
    await directories.removeAll()
  }
  const all = times.flat().map(({ bare }) => bare)
  return [
    { name: nodeAlone.name, median: median(all), min: Math.min(...all), above: 0 },
    ...programs.map(({ name, target }, index) => {
      const own = times[index] ?? []
      return {
        name,
        median: median(own.map(({ time }) => time)),
        min: Math.min(...own.map(({ time }) => time)),
        above: median(own.map(({ bare, time }) => time - bare)),
        target,
      }
    }),
  ]
}

async function timeOfStart(
  node: string,
  { name, args, isServer = false }: Omit<Program, 'target'>,
  directory: string,
): Promise<number> {
  const command = [...(canPin ? ['taskset', '-c', '0'] : []), node, ...args(directory)]
  const startedAt = performance.now()
  // No IPC channel, which takes time to set up.
  const child = spawn(command[0] ?? node, command.slice(1), {
    cwd: root,
    stdio: ['ignore', isServer ? 'pipe' : 'ignore', 'inherit'],
  })
  const exit = once(child, 'exit')
  if (isServer) await Promise.race([firstOutput(child), exit])
  else await exit
  const time = performance.now() - startedAt
  const isRunning = child.exitCode === null && child.signalCode === null
  await end(child)
  if (isServer ? !isRunning : child.exitCode !== 0) throw new Error(`${name} ended with ${child.exitCode}`)
  return time
}

/** Resolves when the program has printed a URL. */
async function firstOutput({ stdout }: ChildProcess): Promise<void> {
  for await (const text of stdout?.setEncoding('utf8') ?? []) if (/https?:\/\//.test(text)) return
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}

/** The cells of a table of starts, with its head. */
export const startRows = (starts: readonly Start[]): string[][] => [
  Object.values(startColumns),
  ...starts.map(({ name, median, min, above, target }) => [
    name,
    ...[median, min, above].map(number),
    target === undefined ? '' : `<= ${target}`,
  ]),
]

export function startTable(starts: readonly Start[]): string {
  const [head = [], ...rows] = startRows(starts)
  const line = ([name = '', ...cells]: readonly string[]): string =>
    name.padEnd(40) + cells.map((cell) => cell.padStart(12)).join('')
  return [
    'start, in milliseconds',
    line(head),
    ...rows.map((row, index) => {
      const { above = 0, target } = starts[index] ?? {}
      return line(row) + (target === undefined ? '' : above <= target ? '  met' : '  MISSED')
    }),
    '',
  ].join('\n')
}

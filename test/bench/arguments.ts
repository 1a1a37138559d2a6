import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly isQuick: boolean
  /** The files for all figures as JSON, and for tables in Markdown. */
  readonly json: string | undefined
  readonly markdown: string | undefined
  /** The Node executable for the servers, and its version. */
  readonly node: string
  readonly version: string
  readonly rounds: number
  /** Milliseconds of a measurement, and of the warm-up before it. */
  readonly time: number
  readonly warmUp: number
  /** The directory for profiles. */
  readonly profile: string | undefined
  /** A case is selected if its name contains one of these words; without any, all cases are. */
  readonly filters: readonly string[]
}

export const usage = `npm run bench -- [--quick] [--json FILE] [--markdown FILE] [--node PATH] [--rounds N] [--time MS]
                 [--profile DIR] [FILTER...]

  --quick          the most important cases, about three minutes; all cases take about 90 minutes
  --json FILE      writes all figures
  --markdown FILE  writes tables in Markdown
  --node PATH      the Node executable for the servers; default: the one that runs the benchmark
  --rounds N       runs of each server in each case; default 3, quick 2
  --time MS        duration of a measurement, after a warm-up of at least three times that; default 1000, quick 500
  --profile DIR    writes processor profiles of the servers, which makes them slower
  FILTER           only cases with one of these words in their names, such as "64 KiB", disk, growth, start or objects;
                   with --quick the cases of objects are shorter, and are run only if a FILTER selects them
`

/**
 * Warm-up as a multiple of the measurement; some cases multiply it again. Three seconds, because a server
 * that shares one core with V8's compiler needs that long until its code is compiled. In its first second a
 * request takes twice the time, and more for a server with much code. The receivers written for this
 * benchmark have little code.
 */
const WarmUpFactor = 3

export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      markdown: { type: 'string' },
      node: { type: 'string', default: process.execPath },
      rounds: { type: 'string' },
      time: { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const { quick, json, markdown, node, profile } = values
  const rounds = readCount('rounds', values.rounds ?? (quick ? '2' : '3'))
  const time = readCount('time', values.time ?? (quick ? '500' : '1000'))
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  return {
    isQuick: quick,
    json,
    markdown,
    node,
    version,
    rounds,
    time,
    warmUp: Math.round(time * WarmUpFactor),
    profile,
    filters: positionals,
  }
}

function readCount(name: string, value: string): number {
  const count = Number(value)
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new TypeError(`--${name} must be a positive integer\n\n${usage}`)
  }
  return count
}

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly isQuick: boolean
  /** Where the figures go as JSON, and as tables in Markdown. */
  readonly json: string | undefined
  readonly markdown: string | undefined
  /** The Node for the servers, and what it says of itself. */
  readonly node: string
  readonly version: string
  readonly rounds: number
  /** Milliseconds that a run is measured, and those before. */
  readonly time: number
  readonly warmUp: number
  /** Where profiles go. */
  readonly profile: string | undefined
  /** Words of which a case's name has to have one; none: all cases. */
  readonly filters: readonly string[]
}

export const usage = `npm run bench -- [--quick] [--json FILE] [--markdown FILE] [--node PATH] [--rounds N] [--time MS]
                 [--profile DIR] [FILTER...]

  --quick          the most telling cases, briefly: about two minutes; all of them take about 50
  --json FILE      writes all figures
  --markdown FILE  writes the tables that the README has
  --node PATH      the Node that servers run on; default: this one
  --rounds N       runs of each server in each case; default 3, quick 2
  --time MS        how long a run is measured, after a warm-up of at least three times that; default 1000, quick 500
  --profile DIR    writes processor profiles of the servers, which makes them slower
  FILTER           only cases with one of these in their names, such as "64 KiB", disk or growth
`

/**
 * In times of what is measured; some cases take more of it. Three seconds, because a server that shares one core with V8's compiler takes that long to be
 * compiled: in its first second it takes twice the time, and the more so the more code it has, which hand-made
 * receivers have little of.
 */
const WarmUp = 3

export function readArguments(words: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...words],
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
    warmUp: Math.round(time * WarmUp),
    profile,
    filters: positionals,
  }
}

function readCount(name: string, value: string): number {
  const count = Number(value)
  if (!Number.isSafeInteger(count) || count < 1) throw new TypeError(`--${name} takes a number\n\n${usage}`)
  return count
}

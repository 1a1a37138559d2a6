import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly isQuick: boolean
  /** Where the figures go as JSON. */
  readonly json: string | undefined
  /** The Node for the servers, and what it says of itself. */
  readonly node: string
  readonly version: string
  readonly rounds: number
  /** Where profiles go. */
  readonly profile: string | undefined
  /** Words of which a case's name has to have one; none: all cases. */
  readonly filters: readonly string[]
}

export const usage = `node --import tsx test/bench/main.ts [--quick] [--json FILE] [--node PATH] [--rounds N] [--profile DIR] [FILTER...]

  --quick        the most telling cases, briefly: under two minutes; all of them take most of an hour
  --json FILE    writes all figures
  --node PATH    the Node that servers run on; default: this one
  --rounds N     runs of each server in each case; default 5, quick 3
  --profile DIR  writes processor profiles of the servers, which makes them slower
  FILTER         only cases with one of these in their names, such as "64 KiB", disk or growth
`

export function readArguments(words: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      node: { type: 'string', default: process.execPath },
      rounds: { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const { quick, json, node, profile } = values
  const rounds = Number(values.rounds ?? (quick ? 3 : 5))
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new TypeError(`--rounds takes a number\n\n${usage}`)
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  return { isQuick: quick, json, node, version, rounds, profile, filters: positionals }
}

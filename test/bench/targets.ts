import type { Result, Row } from './rounds.ts'
import { number } from './table.ts'

/** A ratio that one contestant is to keep to another, in one case. */
interface Target {
  /** How the names of the cases begin that it is for. */
  readonly name: string
  readonly of: string
  readonly to: string
  readonly what: 'value' | 'cpu' | 'peak'
  readonly least?: number
  readonly most?: number
  /** Contestants that show what can be reached at all: their ratios are told beside. */
  readonly limits: readonly string[]
}

const ratio = (
  name: string,
  to: string,
  bound: { least: number } | { most: number },
  more: Partial<Pick<Target, 'of' | 'what' | 'limits'>> = {},
): Target => ({ name, of: 'bits', to, what: 'value', limits: [], ...bound, ...more })

const ceiling = { limits: ['ceiling'] }
const files = { limits: ['floor', 'blocking', 'packets'] }
const cpu = { what: 'cpu', ...ceiling } as const
const beside = { of: 'with', limits: ['empty'] }

const targets: readonly Target[] = [
  ratio('fragments 1 MiB, 8', 'pipeline', { least: 1.4 }, ceiling),
  ratio('fragments 1 MiB, 8', 'ceiling', { least: 0.9 }),
  ratio('fragments 1 MiB, 8', 'tus', { least: 3.5 }, ceiling),
  ratio('fragments 1 MiB, 8', 'tus', { most: 0.35 }, cpu),
  ratio('fragments 5 MiB, 8', 'pipeline', { least: 1.4 }, ceiling),
  ratio('fragments 5 MiB, 8', 'ceiling', { least: 0.9 }),
  ratio('fragments 5 MiB, 8', 'tus', { least: 2 }, ceiling),
  ratio('fragments 64 KiB, 8', 'pipeline', { least: 1.6 }, ceiling),
  ratio('fragments 64 KiB, 8', 'tus', { least: 5 }, ceiling),
  ratio('fragments 64 KiB, 8', 'tus', { most: 0.25 }, cpu),
  ratio('fragments 64 MiB, 8', 'discard', { most: 1.2 }, { what: 'peak', ...ceiling }),
  ratio('whole files of 1 KiB', 'tus', { least: 2.5 }, files),
  ratio('whole files of 1 KiB', 'multer', { least: 1 }, files),
  ratio('one file of 1 GiB', 'nginx', { least: 1 }, { limits: ['ceiling', 'discard'] }),
  ratio('5000 silent uploads', 'discard', { most: 1.5 }, ceiling),
  ratio('5000 silent uploads', 'tus', { most: 0.5 }, ceiling),
  ratio('GET / beside uploads', 'without', { least: 0.95 }, beside),
  ratio('POST of 64 KiB beside uploads', 'without', { least: 0.95 }, beside),
]

/** What became of a target in a case. */
export interface Verdict {
  readonly target: string
  readonly wanted: string
  readonly seen: number
  readonly isMet: boolean
  /** What the target's limits showed in its place, by their names. */
  readonly limits: Readonly<Record<string, number>>
}

/** All targets that these results tell something of. */
export const judge = (results: readonly Result[]): Verdict[] =>
  targets.flatMap((target) =>
    results.filter(({ name }) => name.startsWith(target.name)).flatMap((result) => verdicts(target, result)),
  )

function verdicts({ of, to, what, least, most, limits }: Target, { name, rows }: Result): Verdict[] {
  const figure = (wanted: string): number | undefined => {
    const row = rows.find(({ contestant }) => contestant === wanted)
    return row && figureOf(row, what)
  }
  const [ours, theirs] = [figure(of), figure(to)]
  if (ours === undefined || theirs === undefined) return []
  const seen = ours / theirs
  return [
    {
      target: `${name}: ${what === 'value' ? '' : `${what} of `}${of} to ${to}`,
      wanted: least === undefined ? `<= ${most}` : `>= ${least}`,
      seen,
      isMet: least === undefined ? seen <= (most ?? 0) : seen >= least,
      limits: Object.fromEntries(
        limits.flatMap((limit) => {
          const found = figure(limit)
          return found === undefined ? [] : [[limit, found / theirs]]
        }),
      ),
    },
  ]
}

const figureOf = (row: Row, what: Target['what']): number => (what === 'value' ? row.value.median : row[what])

export const verdictLines = (verdicts: readonly Verdict[]): string =>
  verdicts
    .map(({ target, wanted, seen, isMet, limits }) => {
      const said = isMet ? 'met   ' : 'MISSED'
      const told = Object.entries(limits).map(([name, value]) => `${name} ${number(value)}`)
      const beside = told.length > 0 ? `  (${told.join(', ')})` : ''
      return `${said}  ${target.padEnd(64)} wanted ${wanted.padEnd(8)} seen ${number(seen)}${beside}\n`
    })
    .join('')

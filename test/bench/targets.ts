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
}

const ratio = (
  name: string,
  to: string,
  limits: { least: number } | { most: number },
  what: Target['what'] = 'value',
  of = 'bits',
): Target => ({ name, of, to, what, ...limits })

const targets: readonly Target[] = [
  ratio('fragments 1 MiB, 8', 'pipeline', { least: 1.4 }),
  ratio('fragments 1 MiB, 8', 'ceiling', { least: 0.9 }),
  ratio('fragments 1 MiB, 8', 'tus', { least: 3.5 }),
  ratio('fragments 1 MiB, 8', 'tus', { most: 0.35 }, 'cpu'),
  ratio('fragments 5 MiB, 8', 'pipeline', { least: 1.4 }),
  ratio('fragments 5 MiB, 8', 'ceiling', { least: 0.9 }),
  ratio('fragments 5 MiB, 8', 'tus', { least: 2 }),
  ratio('fragments 64 KiB, 8', 'pipeline', { least: 1.6 }),
  ratio('fragments 64 KiB, 8', 'tus', { least: 5 }),
  ratio('fragments 64 KiB, 8', 'tus', { most: 0.25 }, 'cpu'),
  ratio('fragments 64 MiB, 8', 'discard', { most: 1.2 }, 'peak'),
  ratio('whole files of 1 KiB', 'tus', { least: 2.5 }),
  ratio('whole files of 1 KiB', 'multer', { least: 1 }),
  ratio('one file of 1 GiB', 'nginx', { least: 1 }),
  ratio('5000 silent uploads', 'discard', { most: 1.5 }),
  ratio('5000 silent uploads', 'tus', { most: 0.5 }),
  ratio('GET / beside uploads', 'without', { least: 0.95 }, 'value', 'with'),
  ratio('POST of 64 KiB beside uploads', 'without', { least: 0.95 }, 'value', 'with'),
]

/** What became of a target in a case. */
export interface Verdict {
  readonly target: string
  readonly wanted: string
  readonly seen: number
  readonly isMet: boolean
}

/** All targets that these results tell something of. */
export const judge = (results: readonly Result[]): Verdict[] =>
  targets.flatMap((target) =>
    results.filter(({ name }) => name.startsWith(target.name)).flatMap((result) => verdicts(target, result)),
  )

function verdicts({ of, to, what, least, most }: Target, { name, rows }: Result): Verdict[] {
  const row = (wanted: string): Row | undefined => rows.find(({ contestant }) => contestant === wanted)
  const [ours, theirs] = [row(of), row(to)]
  if (!ours || !theirs) return []
  const seen = figure(ours, what) / figure(theirs, what)
  return [
    {
      target: `${name}: ${what === 'value' ? '' : `${what} of `}${of} to ${to}`,
      wanted: least === undefined ? `<= ${most}` : `>= ${least}`,
      seen,
      isMet: least === undefined ? seen <= (most ?? 0) : seen >= least,
    },
  ]
}

const figure = (row: Row, what: Target['what']): number => (what === 'value' ? row.value.median : row[what])

export const verdictLines = (verdicts: readonly Verdict[]): string =>
  verdicts
    .map(({ target, wanted, seen, isMet }) => {
      const said = isMet ? 'met   ' : 'MISSED'
      return `${said}  ${target.padEnd(64)} wanted ${wanted.padEnd(8)} seen ${number(seen)}\n`
    })
    .join('')

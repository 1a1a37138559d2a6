import type { CandidateResult, CaseResult } from './rounds.ts'
import { number } from './table.ts'

/**
 * A ratio between two candidates in one case, or a figure of one candidate: a target if it has a bound,
 * otherwise information.
 */
interface Ratio {
  /** The beginning of the names of the cases to which it applies. */
  readonly cases: string
  readonly of: string
  /** Undefined: not a ratio, but the figure itself. */
  readonly to: string | undefined
  readonly figure: Figure
  readonly bound?: Bound
  /** Candidates that show what is possible. Their ratios are printed beside it. */
  readonly limits: readonly string[]
}

type Figure = 'value' | 'cpu' | 'peak' | 'requests' | 'left'
type Bound = { readonly min: number } | { readonly max: number }
type Details = Partial<Pick<Ratio, 'of' | 'figure' | 'limits'>>

const ratio = (cases: string, to: string | undefined, more: Details & { bound?: Bound }): Ratio => ({
  cases,
  of: 'bits',
  to,
  figure: 'value',
  limits: [],
  ...more,
})
const target = (cases: string, to: string | undefined, bound: Bound, more: Details = {}): Ratio =>
  ratio(cases, to, { ...more, bound })

const ceiling = { limits: ['ceiling'] }
const smallFiles = { limits: ['floor', 'blocking', 'packets'] }
const cpu = { figure: 'cpu', ...ceiling } as const
const client = { of: 'send' }
const middleware = { of: 'with', limits: ['empty'] }

/** Targets over an object service, for all its cases, also those with a delay. */
const objects = (service: string, tus: string, minValue: number): Ratio[] =>
  [
    // Requests for each upload: 2.5 for each fragment of 5 MiB, Create-Session and Close-Session included.
    { row: '8 x 32 MiB', maxRequests: 7 * 2.5 },
    { row: '200 x 64 KiB', maxRequests: 8 },
    { row: '1 x 256 MiB', maxRequests: 52 * 2.5 },
  ].flatMap(({ row, maxRequests }) => {
    const cases = `objects ${row}, ${service}`
    return [
      target(cases, tus, { min: minValue }),
      target(cases, tus, { max: 1 }, { figure: 'cpu' }),
      target(cases, tus, { max: 1.3 }, { figure: 'peak' }),
      target(cases, undefined, { max: maxRequests }, { figure: 'requests' }),
      target(cases, undefined, { max: 0 }, { figure: 'left' }),
    ]
  })

const ratios: readonly Ratio[] = [
  target('fragments 1 MiB, 8', 'pipeline', { min: 1.4 }, ceiling),
  target('fragments 1 MiB, 8', 'ceiling', { min: 0.9 }),
  target('fragments 1 MiB, 8', 'tus', { min: 3.5 }, ceiling),
  target('fragments 1 MiB, 8', 'tus', { max: 0.35 }, cpu),
  target('fragments 5 MiB, 8', 'pipeline', { min: 1.4 }, ceiling),
  target('fragments 5 MiB, 8', 'ceiling', { min: 0.9 }),
  target('fragments 5 MiB, 8', 'tus', { min: 2 }, ceiling),
  target('fragments 64 KiB, 8', 'pipeline', { min: 1.6 }, ceiling),
  target('fragments 64 KiB, 8', 'tus', { min: 5 }, ceiling),
  target('fragments 64 KiB, 8', 'tus', { max: 0.25 }, cpu),
  target('fragments 64 MiB, 8', 'discard', { max: 1.2 }, { figure: 'peak', ...ceiling }),
  target('whole files of 1 KiB', 'tus', { min: 2.5 }, smallFiles),
  // No target, because `floor`, which makes only the calls that the promises need, reached 0.76 to 1.00.
  ratio('whole files of 1 KiB', 'multer', smallFiles),
  target('whole files of 64 KiB', 'multer', { min: 1 }, smallFiles),
  // No target, because `discard`, which stores nothing, reached 0.82: the HTTP parser of Node copies each
  // piece.
  ratio('one file of 1 GiB', 'nginx', { limits: ['ceiling', 'discard'] }),
  target('client: one file of 1 GiB, tmpfs', 'tus-js-client', { min: 1.3 }, client),
  target('client: 2000 files of 4 KiB, tmpfs', 'tus-js-client', { min: 1.5 }, client),
  ratio('client: one file of 1 GiB, disk', 'tus-js-client', client),
  ratio('client: 2000 files of 4 KiB, disk', 'tus-js-client', client),
  target('5000 silent uploads', 'discard', { max: 1.5 }, ceiling),
  target('5000 silent uploads', 'tus', { max: 0.5 }, ceiling),
  target('GET / beside uploads', 'without', { min: 0.95 }, middleware),
  target('POST of 64 KiB beside uploads', 'without', { min: 0.95 }, middleware),
  ...objects('Ceph', '@tus/s3-store', 1.2),
  ...objects('Azurite', '@tus/azure-store', 1),
]

/** A measured ratio or figure. */
export interface Comparison {
  readonly name: string
  readonly measured: number
  /** `>= 2.5`, for example; undefined: no target, only information. */
  readonly target?: string
  readonly isMet?: boolean
  /** The same ratio for each limit, by its name. */
  readonly limits: Readonly<Record<string, number>>
}

/** All ratios that can be computed from these results. */
export const compare = (results: readonly CaseResult[]): Comparison[] =>
  ratios.flatMap((ratio) =>
    results
      .filter(({ name }) => name.startsWith(ratio.cases))
      .flatMap((result) => comparisons(ratio, result)),
  )

function comparisons({ of, to, figure, bound, limits }: Ratio, { name, rows }: CaseResult): Comparison[] {
  const figureOf = (candidate: string): number | undefined => {
    const row = rows.find((row) => row.candidate === candidate)
    return row && readFigure(row, figure)
  }
  const [numerator, denominator] = [figureOf(of), to === undefined ? 1 : figureOf(to)]
  if (numerator === undefined || denominator === undefined) return []
  const measured = numerator / denominator
  return [
    {
      name: `${name}: ${figure === 'value' ? '' : `${figure} of `}${of}${to === undefined ? '' : ` to ${to}`}`,
      measured,
      ...(bound && { target: describe(bound), isMet: isMet(measured, bound) }),
      limits: Object.fromEntries(
        limits.flatMap((limit) => {
          const value = figureOf(limit)
          return value === undefined ? [] : [[limit, value / denominator]]
        }),
      ),
    },
  ]
}

const readFigure = (row: CandidateResult, figure: Figure): number | undefined =>
  figure === 'value' ? row.value.median : row[figure]

const describe = (bound: Bound): string => ('min' in bound ? `>= ${bound.min}` : `<= ${bound.max}`)

const isMet = (measured: number, bound: Bound): boolean =>
  'min' in bound ? measured >= bound.min : measured <= bound.max

export const comparisonLines = (comparisons: readonly Comparison[]): string =>
  comparisons
    .map(({ name, target, measured, isMet, limits }) => {
      const verdict = isMet === undefined ? 'info  ' : isMet ? 'met   ' : 'MISSED'
      const values = `target ${(target ?? 'none').padEnd(8)} measured ${number(measured)}`
      const texts = Object.entries(limits).map(([limit, value]) => `${limit} ${number(value)}`)
      return `${verdict}  ${name.padEnd(72)} ${values}${texts.length > 0 ? `  (${texts.join(', ')})` : ''}\n`
    })
    .join('')

import { duration } from './estimate.ts'
import type { CandidateResult, CaseResult } from './rounds.ts'

const units = {
  'MB/s': 's/GB',
  'files/s': 's/1000',
  'requests/s': 's/1000',
  'bytes/upload': '',
} satisfies Record<CaseResult['unit'], string>

/** A result as text. The last column is the first candidate's value divided by the row's. */
export function table({ name, unit, seconds, rows, failure }: CaseResult): string {
  if (failure !== undefined) return `${name}: ${failure}\n`
  const [first] = rows
  const lines = [
    [name, unit, 'min', 'max', `CPU ${units[unit]}`, 'peak MiB', 'client', `${first?.candidate} : it`],
    ...rows.map((row) => cells(row, first)),
  ]
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  return lines
    .map((line) => `${line.map((cell, column) => align(cell, column, widths[column] ?? 0)).join('  ')}\n`)
    .join('')
    .concat(...rows.map(serviceLine), `  took ${duration(seconds)}\n`)
}

/** What a candidate did over an object service; empty for other cases. */
function serviceLine({
  candidate,
  requests,
  requestKinds = {},
  left,
  leftNames = [],
}: CandidateResult): string {
  if (requests === undefined || left === undefined) return ''
  const kinds = Object.entries(requestKinds).map(([kind, count]) => `${kind} ${number(count)}`)
  const names = left > 0 ? ` (${leftNames.join(', ')}${left > leftNames.length ? ', ...' : ''})` : ''
  return `  ${candidate}: ${number(requests)} requests for each upload (${kinds.join(', ')}); ${left} objects left${names}\n`
}

const cells = (
  { candidate, value, cpu, peak, client }: CandidateResult,
  first: CandidateResult | undefined,
): string[] => [
  `  ${candidate}`,
  number(value.median),
  number(value.min),
  number(value.max),
  number(cpu),
  number(peak / 1024 / 1024),
  Number.isNaN(client) ? '' : `${Math.round(client * 100)}%`,
  number((first?.value.median ?? Number.NaN) / value.median),
]

/** Rounds to three significant digits, and from 100 on to an integer. Empty for NaN. */
export function number(value: number): string {
  if (Number.isNaN(value)) return ''
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3)
}

const align = (cell: string, column: number, width: number): string =>
  column === 0 ? cell.padEnd(Math.max(width, 40)) : cell.padStart(width)

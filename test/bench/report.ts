import { columns, type Growth } from './growth.ts'
import { type Machine, machineLine, warnings } from './machine.ts'
import type { CandidateResult, CaseResult } from './rounds.ts'
import { type Start, startRows } from './start.ts'
import { number } from './table.ts'
import type { Comparison } from './targets.ts'

/** All results of a run of the benchmark, as `--json` writes them. */
export interface Report {
  readonly machine: Machine
  readonly isQuick: boolean
  readonly rounds: number
  /** Milliseconds that each run was measured. */
  readonly time: number
  /** Duration of the whole benchmark. */
  readonly seconds: number
  readonly results: readonly CaseResult[]
  readonly growth: readonly Growth[]
  readonly start: readonly Start[]
  readonly comparisons: readonly Comparison[]
}

/** Results that share a table. */
interface Group {
  readonly title: string
  readonly contains: (result: CaseResult, first: CandidateResult) => boolean
  /** The candidate for a column with the ratio of processor time. */
  readonly cpuTo?: string
}

const groups: readonly Group[] = [
  {
    title: 'Uploads',
    contains: ({ name, unit }, { candidate }) =>
      candidate === 'bits' && !isMemory(unit) && !isObjectCase(name),
    cpuTo: 'tus',
  },
  {
    title: 'Clients',
    contains: (_, { candidate }) => candidate === 'send',
    cpuTo: 'tus-js-client',
  },
  { title: 'Memory of an upload at rest', contains: ({ unit }) => isMemory(unit) },
  { title: 'Other traffic, with the middleware', contains: (_, { candidate }) => candidate === 'with' },
]

const isMemory = (unit: CaseResult['unit']): boolean => unit === 'bytes/upload'

const isObjectCase = (name: string): boolean => name.startsWith('objects ')

/** The tables of a report in Markdown. */
export function markdown(report: Report): string {
  const { machine, rounds, time, growth, start, comparisons } = report
  const tables = groups.flatMap((group) => {
    const rows = report.results.flatMap((result): [CaseResult, CandidateResult][] => {
      const [first] = result.rows
      return first && group.contains(result, first) ? [[result, first]] : []
    })
    return rows.length > 0 ? [ratioTable(group, rows)] : []
  })
  const heading = `${machineLine(machine)}; medians of ${rounds} runs of ${number(time / 1000)} s`
  const overServices = report.results.filter(({ name, rows }) => isObjectCase(name) && rows.length > 0)
  if (overServices.length > 0) tables.push(objectTable(overServices))
  if (growth.length > 0) tables.push(growthTable(growth))
  if (start.length > 0) tables.push(grid(startRows(start)))
  if (comparisons.length > 0) tables.push(comparisonTable(comparisons))
  return [heading, ...warnings(machine), ...tables].join('\n\n').concat('\n')
}

/** One row for each case: the result of its first candidate, and the ratio to each other candidate. */
function ratioTable(
  { title, cpuTo }: Group,
  results: readonly (readonly [CaseResult, CandidateResult])[],
): string {
  const others = [
    ...new Set(results.flatMap(([{ rows }]) => rows.slice(1).map(({ candidate }) => candidate))),
  ]
  const hasCpu = results.some(([, { cpu }]) => !Number.isNaN(cpu))
  const head = [
    title,
    'here',
    ...others.map((other) => `to ${other}`),
    ...(hasCpu ? ['CPU s', 'peak MiB'] : []),
    ...(cpuTo === undefined ? [] : [`CPU to ${cpuTo}`]),
  ]
  const lines = results.map(([{ name, unit, rows }, first]) => {
    const ratio = (other: string, figure: (row: CandidateResult) => number): string => {
      const row = rows.find(({ candidate }) => candidate === other)
      return row ? number(figure(first) / figure(row)) : ''
    }
    return [
      name,
      `${number(first.value.median)} ${unit}`,
      ...others.map((other) => ratio(other, ({ value }) => value.median)),
      ...(hasCpu ? [number(first.cpu), number(first.peak / 1024 / 1024)] : []),
      ...(cpuTo === undefined ? [] : [ratio(cpuTo, ({ cpu }) => cpu)]),
    ]
  })
  return grid([head, ...lines])
}

/** One row for each case over an object service: the result here, and the comparison with that of tus. */
function objectTable(results: readonly CaseResult[]): string {
  const head = ['Object services', 'here', 'tus', 'to tus', 'CPU to tus', 'peak MiB', 'requests', 'left']
  const lines = results.map(({ name, unit, rows: [here, tus] }) => {
    const pair = (figure: (row: CandidateResult) => string): string =>
      here && tus ? [here, tus].map(figure).filter(Boolean).join(', ') : ''
    const ratio = (figure: (row: CandidateResult) => number): string =>
      here && tus ? number(figure(here) / figure(tus)) : ''
    return [
      name.replace('objects ', ''),
      `${number(here?.value.median ?? Number.NaN)} ${unit}`,
      number(tus?.value.median ?? Number.NaN),
      ratio(({ value }) => value.median),
      ratio(({ cpu }) => cpu),
      pair(({ peak }) => number(peak / 1024 / 1024)),
      pair(({ requests = Number.NaN }) => number(requests)),
      pair(({ left = '' }) => String(left)),
    ]
  })
  return grid([head, ...lines])
}

const growthTable = (rows: readonly Growth[]): string => {
  const keys = Object.keys(columns) as (keyof Growth)[]
  return grid([keys.map((key) => columns[key]), ...rows.map((row) => keys.map((key) => number(row[key])))])
}

const comparisonTable = (comparisons: readonly Comparison[]): string =>
  grid([
    ['Ratio', 'target', 'measured', 'limits'],
    ...comparisons.map(({ name, target, measured, limits }) => [
      name,
      target ?? 'none',
      number(measured),
      Object.entries(limits)
        .map(([limit, value]) => `${limit} ${number(value)}`)
        .join(', '),
    ]),
  ])

/** A Markdown table. The first row is the head. All columns but the first are aligned to the right. */
function grid(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows
  const widths = head.map((_, column) => Math.max(4, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `| ${cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join(' | ')} |`
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [line(head), line(rule), ...rows.slice(1).map(line)].join('\n')
}

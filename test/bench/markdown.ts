import { columns, type Growth } from './growth.ts'
import { machineLine, reservations } from './machine.ts'
import type { Report } from './report.ts'
import type { Result, Row } from './rounds.ts'
import { number } from './table.ts'
import type { Verdict } from './targets.ts'

/** Results that share their columns. */
interface Group {
  readonly title: string
  readonly has: (result: Result, first: Row) => boolean
  /** Which of two contestants' ratios of processor time is told, too. */
  readonly cpuTo?: string
}

const groups: readonly Group[] = [
  {
    title: 'Uploads',
    has: ({ unit }, { contestant }) => contestant === 'bits' && !isMemory(unit),
    cpuTo: 'tus',
  },
  { title: 'Memory of an upload at rest', has: ({ unit }) => isMemory(unit) },
  { title: 'Other traffic, with the middleware', has: (_, { contestant }) => contestant === 'with' },
]

const isMemory = (unit: Result['unit']): boolean => unit === 'bytes/upload'

/** The tables of a report, as the README has them. */
export function markdown(report: Report): string {
  const { machine, rounds, time, growth, verdicts } = report
  const tables = groups.flatMap((group) => {
    const rows = report.results.flatMap((result): [Result, Row][] => {
      const [first] = result.rows
      return first && group.has(result, first) ? [[result, first]] : []
    })
    return rows.length > 0 ? [ratioTable(group, rows)] : []
  })
  const told = `${machineLine(machine)}; medians of ${rounds} runs of ${number(time / 1000)} s`
  if (growth.length > 0) tables.push(growthTable(growth))
  if (verdicts.length > 0) tables.push(verdictTable(verdicts))
  return [told, ...reservations(machine), ...tables].join('\n\n').concat('\n')
}

/** A case a row: what its first contestant did, and as a multiple of what each of the others did. */
function ratioTable({ title, cpuTo }: Group, results: readonly (readonly [Result, Row])[]): string {
  const others = [
    ...new Set(results.flatMap(([{ rows }]) => rows.slice(1).map(({ contestant }) => contestant))),
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
    const ratio = (other: string | undefined, figure: (row: Row) => number): string => {
      const row = rows.find(({ contestant }) => contestant === other)
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

const growthTable = (found: readonly Growth[]): string => {
  const keys = Object.keys(columns) as (keyof Growth)[]
  return grid([keys.map((key) => columns[key]), ...found.map((row) => keys.map((key) => number(row[key])))])
}

const verdictTable = (verdicts: readonly Verdict[]): string =>
  grid([
    ['Target', 'wanted', 'seen', 'limit'],
    ...verdicts.map(({ target, wanted, seen, limits }) => [
      target,
      wanted,
      number(seen),
      Object.entries(limits)
        .map(([name, value]) => `${name} ${number(value)}`)
        .join(', '),
    ]),
  ])

/** The first row is the head; all columns but the first are figures. */
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

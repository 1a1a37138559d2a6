/** The benchmark: see {@link usage}. The package must be built first. */
import { writeFile } from 'node:fs/promises'
import { readArguments } from './arguments.ts'
import { cases } from './cases.ts'
import { duration, estimate } from './estimate.ts'
import { estimateGrowth, growthTable, measureGrowth } from './growth.ts'
import { machine as describeMachine, machineLine, warnings } from './machine.ts'
import { objectCases } from './object-services/cases.ts'
import { estimateObjects, measureObjectCase, missingService } from './object-services/rounds.ts'
import { markdown, type Report } from './report.ts'
import { type CaseResult, measure } from './rounds.ts'
import { fillPool, unavailableReason } from './run-directories.ts'
import { estimateStart, measureStart, startTable } from './start.ts'
import { table } from './table.ts'
import { compare, comparisonLines } from './targets.ts'

const options = readArguments(process.argv.slice(2))
const { isQuick, node, rounds, time, filters } = options
const isSelected = (name: string): boolean =>
  filters.length === 0 || filters.some((word) => name.includes(word))
const selected = cases(isQuick).filter(({ name }) => isSelected(name))
const isGrowthSelected = isSelected('growth')
const isStartSelected = isSelected('start')
// The quick run contains them only if they are named.
const selectedObjects = objectCases(isQuick).filter(
  ({ name }) => isSelected(name) && (!isQuick || filters.length > 0),
)
if (selected.length + selectedObjects.length === 0 && !isGrowthSelected && !isStartSelected)
  throw new Error(`No case has a name with: ${filters}`)

const machine = describeMachine(options.version)
const expected =
  selected.reduce((sum, one) => sum + estimate(one, options), 0) +
  selectedObjects.reduce((sum, one) => sum + estimateObjects(one, rounds, isQuick), 0) +
  (isGrowthSelected ? estimateGrowth(isQuick) : 0) +
  (isStartSelected ? estimateStart(isQuick, rounds) : 0)
const heading = [machineLine(machine), `${rounds} rounds, about ${duration(expected)}`, ...warnings(machine)]
console.log(`${heading.join('\n')}\n`)

const startedAt = performance.now()
const secondsSince = (then: number): number => (performance.now() - then) / 1000

// With process.exit the 'exit' listeners remove the temporary directories, which use memory.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
const pool = selected.some(({ medium, unit }) => medium === 'tmpfs' && unit === 'MB/s')
  ? await fillPool(time)
  : undefined
const results: CaseResult[] = []
for (const one of selected) {
  const reason = await unavailableReason(one.medium)
  if (reason !== undefined) {
    console.log(`NOT RUN because ${reason}: ${one.name}\n`)
    continue
  }
  const result = await measure(one, options, pool)
  results.push(result)
  console.log(table(result))
}

await pool?.remove()

for (const one of selectedObjects) {
  const reason = missingService(one.service)
  if (reason !== undefined) {
    console.log(`NOT RUN because ${reason}: ${one.name}\n`)
    continue
  }
  const result = await measureObjectCase(one, options)
  results.push(result)
  console.log(table(result))
}

const reason = isGrowthSelected ? await unavailableReason('tmpfs') : undefined
if (reason !== undefined) console.log(`NOT RUN because ${reason}: growth\n`)
const growthStartedAt = performance.now()
const growth = isGrowthSelected && reason === undefined ? await measureGrowth(isQuick, node) : []
if (growth.length > 0)
  console.log(`${growthTable(growth)}  took ${duration(secondsSince(growthStartedAt))}\n`)

const startStartedAt = performance.now()
const start = isStartSelected ? await measureStart(isQuick, rounds, node) : []
if (start.length > 0) console.log(`${startTable(start)}  took ${duration(secondsSince(startStartedAt))}\n`)

const comparisons = compare(results)
const seconds = secondsSince(startedAt)
console.log(`${comparisonLines(comparisons)}\nThe benchmark took ${duration(seconds)}`)
const report: Report = { machine, isQuick, rounds, time, seconds, results, growth, start, comparisons }
if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
if (options.markdown !== undefined) await writeFile(options.markdown, markdown(report))
if (results.some(({ failure }) => failure !== undefined)) process.exitCode = 1

/** The benchmark: see {@link usage}. The package has to be built before. */
import { writeFile } from 'node:fs/promises'
import { readArguments } from './arguments.ts'
import { cases } from './cases.ts'
import { duration, estimate } from './estimate.ts'
import { estimateGrowth, growthTable, measureGrowth } from './growth.ts'
import { machine, machineLine, reservations } from './machine.ts'
import { markdown } from './markdown.ts'
import { fillPool, whyNot } from './places.ts'
import type { Report } from './report.ts'
import { measure, type Result } from './rounds.ts'
import { table } from './table.ts'
import { judge, verdictLines } from './targets.ts'

const given = readArguments(process.argv.slice(2))
const { isQuick, node, rounds, time, filters } = given
const isWanted = (name: string): boolean =>
  filters.length === 0 || filters.some((word) => name.includes(word))
const wanted = cases(isQuick).filter(({ name }) => isWanted(name))
const isGrowthWanted = isWanted('growth')
if (wanted.length === 0 && !isGrowthWanted) throw new Error(`There is no case of this name: ${filters}`)

const on = machine(given.version)
const expected =
  wanted.reduce((sum, one) => sum + estimate(one, given), 0) + (isGrowthWanted ? estimateGrowth(isQuick) : 0)
const heading = [machineLine(on), `${rounds} rounds, about ${duration(expected)}`, ...reservations(on)]
console.log(`${heading.join('\n')}\n`)

const began = performance.now()
const secondsSince = (then: number): number => (performance.now() - then) / 1000

// In order, so that nothing stays in memory.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
const pool = wanted.some(({ place, unit }) => place === 'tmpfs' && unit === 'MB/s')
  ? await fillPool(time)
  : undefined
const results: Result[] = []
for (const one of wanted) {
  const hindrance = await whyNot(one.place)
  if (hindrance !== undefined) {
    console.log(`NOT RUN because ${hindrance}: ${one.name}\n`)
    continue
  }
  const result = await measure(one, given, pool)
  results.push(result)
  console.log(table(result))
}

await pool?.empty()

const hindrance = isGrowthWanted ? await whyNot('tmpfs') : undefined
if (hindrance !== undefined) console.log(`NOT RUN because ${hindrance}: growth\n`)
const growthBegan = performance.now()
const growth = isGrowthWanted && hindrance === undefined ? await measureGrowth(isQuick, node) : []
if (growth.length > 0) console.log(`${growthTable(growth)}  took ${duration(secondsSince(growthBegan))}\n`)

const verdicts = judge(results)
const seconds = secondsSince(began)
console.log(`${verdictLines(verdicts)}\nAll took ${duration(seconds)}`)
const report: Report = { machine: on, isQuick, rounds, time, seconds, results, growth, verdicts }
if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify(report, null, 2)}\n`)
if (given.markdown !== undefined) await writeFile(given.markdown, markdown(report))
if (results.some(({ failure }) => failure !== undefined)) process.exitCode = 1

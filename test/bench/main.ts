/** The benchmark: see {@link usage}. The package has to be built before. */
import { writeFile } from 'node:fs/promises'
import { cpus, release } from 'node:os'
import { readArguments } from './arguments.ts'
import { cases } from './cases.ts'
import { growthTable, measureGrowth } from './growth.ts'
import { nginx } from './nginx.ts'
import { whyNot } from './places.ts'
import { canPin } from './process.ts'
import { measure, type Result } from './rounds.ts'
import { table } from './table.ts'
import { judge, verdictLines } from './targets.ts'

const { isQuick, json, node, version, rounds, profile, filters } = readArguments(process.argv.slice(2))
const isWanted = (name: string): boolean =>
  filters.length === 0 || filters.some((word) => name.includes(word))
const options = { node, profile, ...(isQuick ? { warmUp: 400, time: 500 } : { warmUp: 1000, time: 2000 }) }

const machine = {
  node: version,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  kernel: release(),
  pinned: canPin,
}
console.log(`Servers on Node ${version}, ${machine.cores} x ${machine.cpu}, ${rounds} rounds`)
if (!canPin) console.log('NOT PINNED: server and client may share a core')
if (!nginx) console.log('NOT RUN, for there is no nginx: to get one, run .ci/nginx')
console.log('')

const results: Result[] = []
for (const wanted of cases(isQuick).filter(({ name }) => isWanted(name))) {
  const hindrance = await whyNot(wanted.place)
  if (hindrance !== undefined) {
    console.log(`NOT RUN, for ${hindrance}: ${wanted.name}\n`)
    continue
  }
  const result = await measure(wanted, rounds, options)
  results.push(result)
  console.log(table(result))
}

const growth = isWanted('growth') ? await measureGrowth(isQuick, node) : []
if (growth.length > 0) console.log(growthTable(growth))
if (results.length + growth.length === 0) throw new Error(`There is no case of this name: ${filters}`)

const verdicts = judge(results)
console.log(verdictLines(verdicts))
if (json !== undefined) {
  await writeFile(
    json,
    `${JSON.stringify({ machine, isQuick, rounds, results, growth, verdicts }, null, 2)}\n`,
  )
}
if (results.some(({ failure }) => failure !== undefined)) process.exitCode = 1

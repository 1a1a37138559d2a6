/** Compares lib/cli/README.md with the help texts of the built command line, and with the sources. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { root } from './package.ts'
import { readPage, rows } from './page.ts'

const page = readPage('lib/cli/README.md')

interface Option {
  /** `-p`, or empty. */
  readonly short: string
  /** `--port`. */
  readonly name: string
  /** `NUMBER`, or empty for an option without a value. */
  readonly value: string
  readonly standard: string
}

const help = async (...args: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(root, 'dist/cli/main.js'),
    ...args,
    '--help',
  ])
  return stdout
}

const optionNames = /(?:(-\w), )?(--[\w-]+)(?: ('[^']+'|[A-Z][\w:]*))?/g

/** The options of a help text: lines such as `  -p, --port NUMBER   Port. Default: 8080`, which may go on in the next lines. */
function optionsOf(text: string): Option[] {
  const entries = text.matchAll(/^ {2}(?: {4}|-\w, )--.*(?:\n {20,}.*)*/gm)
  return [...entries].flatMap(([entry]) => {
    const [first = ''] = entry.split('\n')
    const names = /^ {2}(?: {4}|-\w, )(?:--[\w-]+(?: (?:'[^']+'|[A-Z][\w:]*))? ?)+/.exec(first)?.[0] ?? ''
    const standard = /Default: ([^\n]*)/.exec(entry)?.[1]?.trim() ?? ''
    return [...names.matchAll(optionNames)].map(([, short = '', name = '', value = '']) => {
      return { short, name, value, standard }
    })
  })
}

/** The options in the tables of a section, of which one row may list several. */
const listedOptions = (heading: string): (Option & { readonly of: string })[] =>
  rows(page.section(heading))
    .filter(([cell = '']) => /^`--?\w/.test(cell))
    .flatMap(([cell = '', , standard = '', of = '']) =>
      [...cell.replaceAll('`', '').matchAll(optionNames)].map(([, short = '', name = '', value = '']) => {
        return { short, name, value, standard: standard.replaceAll('`', ''), of }
      }),
    )

const connection = listedOptions('Connection options')
const commands = ['serve', 'send', 'jobs', 'doctor']

describe('lib/cli/README.md', () => {
  it.each(commands)('lists the options of %s, with their values and defaults', async (command) => {
    const options = optionsOf(await help(command))
    expect(options.length).toBeGreaterThan(7)
    const listed = [
      ...listedOptions(command),
      ...connection.filter(({ of }) => of.split(', ').includes(command)),
    ]
    const form = ({ short, name, value }: Option): string => `${short} ${name} ${value}`
    expect(listed.map(form).sort()).toEqual(options.map(form).sort())
    for (const { name, standard } of options) {
      if (standard !== '')
        expect(listed.find((each) => each.name === name)?.standard, name).toContain(standard)
    }
  })

  it('has the commands of the help text, each with a section of its name', async () => {
    const text = await help()
    const known = [...text.matchAll(/^ {2}(\w+) {2,}\S/gm)].map(([, name]) => name)
    expect(known).toEqual(commands)
    for (const command of commands) expect(page.section(command).length).toBeGreaterThan(1000)
    const linked = [...page.text.matchAll(/^\| \[`(\w+)`\]\(#(\w+)\)/gm)].map(([, name, target]) => [
      name,
      target,
    ])
    expect(linked).toEqual(commands.map((command) => [command, command]))
  })

  it('lists the exit codes of each help text', async () => {
    const listed = rows(page.section('Exit codes'))
    for (const [column, command] of [
      [1, 'serve'],
      [2, 'send'],
      [2, 'jobs'],
      [3, 'doctor'],
    ] as const) {
      const [, codes = ''] = /^Exit codes: (.*)$/m.exec(await help(command)) ?? []
      const numbers = [...codes.matchAll(/\b(\d) /g)].map(([, number]) => number)
      const own = listed.filter((row) => row[column] !== '').map(([number]) => number)
      expect(own, command).toEqual(numbers)
    }
  })

  it('lists the environment variables that the sources read', () => {
    const folder = join(root, 'lib/cli')
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readFileSync(join(folder, path), 'utf8'))
    const read = new Set([...sources.join('').matchAll(/process\.env\.(\w+)/g)].map(([, name]) => name))
    const listed = rows(page.section('Environment')).map(([name = '']) => name.replaceAll('`', ''))
    // Node itself reads this one.
    expect(listed.filter((name) => name !== 'NODE_EXTRA_CA_CERTS').sort()).toEqual([...read].sort())
  })
})

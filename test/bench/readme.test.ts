import { describe, expect, it } from 'vitest'
import { blocks, readPage, rows } from '../package/page.ts'
import { cases } from './cases.ts'
import { columns } from './growth.ts'
import { objectCases } from './object-services/cases.ts'
import { startColumns } from './start.ts'

const { text, section } = readPage('test/bench/README.md')

/** The cells of a line of a table. */
const cellsOf = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())

describe('the page on performance', () => {
  it('describes every receiver of the uploads', () => {
    const names = new Set(cases(false).flatMap(({ candidates }) => candidates.map(({ name }) => name)))
    // Described in the sections on other traffic and on clients, and at the table of the disk.
    const elsewhere = [
      'with',
      'without',
      'empty',
      'bare',
      'bits none',
      'bits fragment',
      'send',
      'tus-js-client',
    ]
    const expected = [...names].filter((name) => !elsewhere.includes(name) && name !== 'nginx')
    const described = rows(section('Method')).map(([name = '']) => name.replaceAll('_', ''))
    expect(described.map((name) => (name === 'here' ? 'bits' : name)).sort()).toEqual(
      [...expected, 'nginx'].sort(), // nginx is a candidate only on machines that have it
    )
  })

  it('has the columns of the table of growth, and describes each', () => {
    const growth = section('Growth')
    const [header = ''] = /^\| +sessions .*$/m.exec(growth) ?? []
    expect(cellsOf(header)).toEqual(Object.values(columns))
    const described = [...growth.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name)
    expect(described).toEqual(Object.values(columns).slice(1))
  })

  it('has the columns of the table of starts', () => {
    const [, header = ''] = /(\| start .*)/.exec(section('Start-up')) ?? []
    expect(cellsOf(header)).toEqual(Object.values(startColumns))
  })

  it('describes every case over object services', () => {
    const described = rows(section('Object services')).map(([name = '']) => name)
    const names = objectCases(false).map(({ name }) => name.replace('objects ', ''))
    const works = new Set(names.map((name) => name.split(',')[0]))
    expect(described).toEqual(expect.arrayContaining([...works, ...names]))
  })

  it('selects existing cases in its commands', () => {
    const names = ['growth', 'start', ...[...cases(false), ...objectCases(false)].map(({ name }) => name)]
    const filters = blocks(text, 'sh')
      .flatMap((commands) => [...commands.matchAll(/npm run bench -- (?!-)([^#\n]*)/g)])
      .flatMap(([, list = '']) => [...list.matchAll(/"([^"]+)"|(\S+)/g)])
      .map(([, quoted, word]) => quoted ?? word ?? '')
    expect(filters).toEqual(
      expect.arrayContaining(['growth', 'GET', 'POST', '5000 silent', '1 GiB, tmpfs', 'client']),
    )
    for (const filter of filters)
      expect(
        names.some((name) => name.includes(filter)),
        filter,
      ).toBe(true)
  })
})

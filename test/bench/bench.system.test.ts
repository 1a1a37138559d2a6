import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import { Output } from '../support/output.ts'
import { whyNot } from './places.ts'
import type { Report } from './report.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))

interface Run {
  readonly code: number | null
  readonly text: string
}

async function bench(...words: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...words])
  onTestFinished(() => void child.kill('SIGKILL'))
  const output = new Output(child)
  const [[code]] = await Promise.all([once(child, 'exit'), output.ended])
  return { code, text: output.text }
}

const brief = ['--quick', '--rounds', '1', '--time', '50']

// Checks no speed, only that the benchmark runs, because otherwise nothing would show that it had stopped working.
describe.skipIf((await whyNot('tmpfs')) !== undefined)('Benchmark', { timeout: 120_000 }, () => {
  test('reports medians, ratios and targets of the named cases as text, JSON and Markdown', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const words = ['64 KiB, 8', '1 KiB', 'GET /']
    const { code, text } = await bench(...brief, '--json', json, '--markdown', markdown, ...words)
    expect(text).not.toContain('Error')
    expect(code).toBe(0)

    const report: Report = JSON.parse(await readFile(json, 'utf8'))
    const rows = report.results.map(({ rows }) => rows.map(({ contestant }) => contestant))
    expect(rows).toEqual([
      ['bits', 'pipeline', 'ceiling', 'tus'],
      ['bits', 'tus', 'multer', 'floor'],
      ['with', 'without', 'empty'],
    ])
    for (const { value, cpu, client } of report.results.flatMap(({ rows }) => rows)) {
      expect(value.median).toBeGreaterThan(0)
      expect(value.least).toBe(value.most)
      expect(client).toBeGreaterThan(0)
      if (process.platform === 'linux') expect(cpu).toBeGreaterThan(0)
    }
    expect(report.machine.versions.express).toMatch(/^5\./)

    const [files, , hello] = report.verdicts.filter(({ target }) => !target.startsWith('fragments'))
    const median = (contestant: string): number =>
      report.results[1]?.rows.find((row) => row.contestant === contestant)?.value.median ?? 0
    expect(report.verdicts).toHaveLength(6)
    expect(files).toMatchObject({
      target: 'whole files of 1 KiB, 8 at once, tmpfs: bits to tus',
      wanted: '>= 2.5',
    })
    expect(files?.seen).toBe(median('bits') / median('tus'))
    expect(files?.limits).toEqual({ floor: median('floor') / median('tus') })
    expect(hello?.isMet).toBe((hello?.seen ?? 0) >= 0.95)

    expect(text).toMatch(
      /^whole files of 1 KiB, 8 at once, tmpfs +files\/s .* bits : it\n {2}bits .* 1\.00\n {2}tus /m,
    )
    expect(text).toMatch(/^(?:met {3}|MISSED) {2}GET \/ beside uploads: with to without /m)
    const tables = await readFile(markdown, 'utf8')
    expect(tables).toMatch(
      /^\| Uploads +\| +here \| to pipeline \| to ceiling \| to tus \| to multer \| to floor \| CPU s \| peak MiB \| CPU to tus \|$/m,
    )
    expect(tables).toMatch(/^\| GET \/ beside uploads +\|/m)
    expect(tables).toMatch(/^\| Target +\| +wanted \|/m)
  })

  test('reports the growth case with 0 and 1000 sessions as text, JSON and Markdown', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const { code, text } = await bench(...brief, '--json', json, '--markdown', markdown, 'growth')
    expect(text).not.toContain('Error')
    expect(code).toBe(0)

    const report: Report = JSON.parse(await readFile(json, 'utf8'))
    expect(report.growth.map(({ sessions }) => sessions)).toEqual([0, 1000])
    for (const growth of report.growth) {
      expect(Object.values(growth).every((figure) => figure === growth.sessions || figure > 0)).toBe(true)
    }
    expect(text).toMatch(/^ +sessions +start-up .*\n +0\.00 .*\n +1000 /m)
    expect(await readFile(markdown, 'utf8')).toMatch(/^\| 1000 +\|/m)
  })

  test('exits with 1 and the error of the case when the server process ends early', async () => {
    const { code, text } = await bench(...brief, '--node', '/bin/true', 'GET /')
    expect(text).toContain('GET / beside uploads: Error: The server app ended')
    expect(code).toBe(1)
  })

  test('exits with 1 and an error for an unknown case name', async () => {
    const { code, text } = await bench(...brief, 'no such case')
    expect(text).toContain('There is no case of this name: no such case')
    expect(code).toBe(1)
  })
})

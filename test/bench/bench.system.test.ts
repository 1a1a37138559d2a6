import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { hasCeph } from '../services/ceph-programs.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Output } from '../support/output.ts'
import type { Report } from './report.ts'
import { unavailableReason } from './run-directories.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))

interface Run {
  readonly code: number | null
  readonly text: string
}

async function bench(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...args])
  onTestFinished(() => void child.kill('SIGKILL'))
  const output = new Output(child)
  const [[code]] = await Promise.all([once(child, 'exit'), output.ended])
  return { code, text: output.text }
}

const shortRun = ['--quick', '--rounds', '1', '--time', '50']

// Checks that the benchmark works, not the speed that it measures.
describe.skipIf((await unavailableReason('tmpfs')) !== undefined)('Benchmark', { timeout: 120_000 }, () => {
  test('reports medians, ratios and targets of the selected cases as text, JSON and Markdown', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const filters = ['64 KiB, 8', '1 KiB', 'GET /']
    const { code, text } = await bench(...shortRun, '--json', json, '--markdown', markdown, ...filters)
    expect(text).not.toContain('Error')
    expect(code).toBe(0)

    const report: Report = JSON.parse(await readFile(json, 'utf8'))
    const rows = report.results.map(({ rows }) => rows.map(({ candidate }) => candidate))
    expect(rows).toEqual([
      ['bits', 'pipeline', 'ceiling', 'tus'],
      ['bits', 'tus', 'multer', 'floor'],
      ['bits', 'tus', 'multer', 'floor'],
      ['with', 'without', 'empty'],
    ])
    for (const { value, cpu, client } of report.results.flatMap(({ rows }) => rows)) {
      expect(value.median).toBeGreaterThan(0)
      expect(value.min).toBe(value.max)
      expect(client).toBeGreaterThan(0)
      // In ticks of 10 ms: one short run on a busy machine may have none.
      if (process.platform === 'linux') expect(cpu).toBeGreaterThanOrEqual(0)
    }
    expect(report.machine.versions.express).toMatch(/^5\./)

    const comparisonOf = (name: string) => report.comparisons.find((comparison) => comparison.name === name)
    const median = (candidate: string): number =>
      report.results[1]?.rows.find((row) => row.candidate === candidate)?.value.median ?? 0
    expect(report.comparisons).toHaveLength(7)
    const measured = median('bits') / median('tus')
    expect(comparisonOf('whole files of 1 KiB, 8 at once, tmpfs: bits to tus')).toMatchObject({
      target: '>= 2.5',
      measured,
      isMet: measured >= 2.5,
      limits: { floor: median('floor') / median('tus') },
    })
    const information = comparisonOf('whole files of 1 KiB, 8 at once, tmpfs: bits to multer')
    expect(information).toMatchObject({ measured: median('bits') / median('multer') })
    expect(information).not.toHaveProperty('target')
    expect(information).not.toHaveProperty('isMet')
    expect(comparisonOf('whole files of 64 KiB, 8 at once, tmpfs: bits to multer')?.target).toBe('>= 1')
    const requests = comparisonOf('GET / beside uploads: with to without')
    expect(requests?.isMet).toBe((requests?.measured ?? 0) >= 0.95)

    expect(text).toMatch(
      /^whole files of 1 KiB, 8 at once, tmpfs +files\/s .* bits : it\n {2}bits .* 1\.00\n {2}tus /m,
    )
    expect(text).toMatch(/^(?:met {3}|MISSED) {2}GET \/ beside uploads: with to without +target >= 0\.95 /m)
    expect(text).toMatch(/^info {4}whole files of 1 KiB, .*: bits to multer +target none /m)
    const tables = await readFile(markdown, 'utf8')
    expect(tables).toMatch(
      /^\| Uploads +\| +here \| to pipeline \| to ceiling \| to tus \| to multer \| to floor \| CPU s \| peak MiB \| CPU to tus \|$/m,
    )
    expect(tables).toMatch(/^\| GET \/ beside uploads +\|/m)
    expect(tables).toMatch(/^\| Ratio +\| +target \| +measured \|/m)
  })

  test('reports the clients with their ratios', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const { code, text } = await bench(...shortRun, '--json', json, '--markdown', markdown, 'client: 2000')
    expect(text).not.toContain('Error')
    expect(code).toBe(0)
    const report: Report = JSON.parse(await readFile(json, 'utf8'))
    expect(report.results).toMatchObject([
      { unit: 'files/s', rows: [{ candidate: 'send' }, { candidate: 'tus-js-client' }] },
    ])
    for (const { value, cpu, client } of report.results.flatMap(({ rows }) => rows)) {
      for (const figure of [value.median, cpu, client]) expect(figure).toBeGreaterThan(0)
    }
    expect(report.machine.versions['tus-js-client']).toMatch(/^4\./)
    expect(report.comparisons).toMatchObject([
      { name: 'client: 2000 files of 4 KiB, tmpfs: send to tus-js-client', target: '>= 1.5' },
    ])
    expect(await readFile(markdown, 'utf8')).toMatch(
      /^\| Clients +\| +here \| to tus-js-client \| CPU s \| peak MiB \| CPU to tus-js-client \|$/m,
    )
  })

  test('reports the growth case with 0 and 1000 sessions as text, JSON and Markdown', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const { code, text } = await bench(...shortRun, '--json', json, '--markdown', markdown, 'growth')
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

  test('reports the start of each command and import as text, JSON and Markdown', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const { code, text } = await bench(...shortRun, '--json', json, '--markdown', markdown, 'start')
    expect(text).not.toContain('Error')
    expect(code).toBe(0)

    const { start }: Report = JSON.parse(await readFile(json, 'utf8'))
    expect(start.map(({ name, target }) => [name, target])).toEqual([
      ['Node alone', undefined],
      ...['', 'serve ', 'send ', 'jobs ', 'doctor '].map((command) => [`${command}--help`, 60]),
      ["import 'express-bits-upload'", 60],
      ["import 'express-bits-upload/client'", 60],
      ['serve, until it listens', 110],
    ])
    for (const { median, min } of start) {
      expect(min).toBeGreaterThan(0)
      expect(median).toBeGreaterThanOrEqual(min)
    }
    expect(text).toMatch(
      /^start +median +min +above Node +target\nNode alone .*\n--help .*<= 60 {2}(?:met|MISSED)$/m,
    )
    expect(await readFile(markdown, 'utf8')).toMatch(/^\| start +\| +median \|.*\n.*\n\| Node alone +\|/m)
  })

  test('reports cases over object services with requests and remaining objects, and with a delay', async () => {
    const directory = await temporaryDirectory()
    const [json, markdown] = [join(directory, 'report.json'), join(directory, 'report.md')]
    const services = hasCeph() ? ['Azurite', 'Ceph'] : ['Azurite']
    const filters = ['objects 8 x 64 KiB, Azurite, direct', 'objects 2 x 6 MiB, Ceph, 20 ms']
    const { code, text } = await bench(...shortRun, '--json', json, '--markdown', markdown, ...filters)
    expect(text).not.toContain('Error')
    expect(code).toBe(0)

    const report: Report = JSON.parse(await readFile(json, 'utf8'))
    const resultOf = (service: string) => report.results.find(({ name }) => name.includes(service))
    expect(report.results).toHaveLength(services.length)
    const [here, tus] = resultOf('Azurite')?.rows ?? []
    expect([here?.candidate, tus?.candidate]).toEqual(['bits', '@tus/azure-store'])
    for (const { value, requests, requestKinds } of [here, tus].flatMap((row) => row ?? [])) {
      expect(value.median).toBeGreaterThan(0)
      // At least the bytes of each file are sent.
      expect(requests).toBeGreaterThanOrEqual(1)
      expect(Object.values(requestKinds ?? {}).reduce((sum, count) => sum + count, 0)).toBe(requests)
    }
    // Two requests create the blob, two append the bytes. Nothing else remains.
    expect(tus).toMatchObject({ requests: 4, left: 0 })
    expect(text).toMatch(
      /^ {2}@tus\/azure-store: 4\.00 requests for each upload \(PUT \?comp=metadata 2\.00, /m,
    )
    const tables = await readFile(markdown, 'utf8')
    expect(tables).toMatch(/^\| 8 x 64 KiB, Azurite, direct \|.* 4\.00 \|.*, 0 \|$/m)

    if (services.includes('Ceph')) {
      const rows = resultOf('Ceph')?.rows ?? []
      expect(rows.map(({ candidate }) => candidate)).toEqual(['bits', '@tus/s3-store'])
      for (const { value, requests } of rows) {
        expect(value.median).toBeGreaterThan(0)
        expect(requests).toBeUndefined()
      }
    } else {
      expect(text).toContain('NOT RUN because Ceph is missing')
    }
  })

  test('exits with 1 and the error of the case when the server process ends early', async () => {
    const { code, text } = await bench(...shortRun, '--node', '/bin/true', 'GET /')
    expect(text).toContain('GET / beside uploads: Error: The server app ended')
    expect(code).toBe(1)
  })

  test('exits with 1 and an error for an unknown case name', async () => {
    const { code, text } = await bench(...shortRun, 'no such case')
    expect(text).toContain('No case has a name with: no such case')
    expect(code).toBe(1)
  })
})

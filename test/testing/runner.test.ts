import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { storeSuite } from '../../lib/testing/index.ts'
import { root } from '../package/package.ts'
import { blocks, readPage } from '../package/page.ts'
import { memoryCapabilities, memoryStoreFixture } from './fixtures.ts'
import { record } from './recorder.ts'

const { section } = readPage('lib/stores/README.md')

const run = promisify(execFile)

it('storeSuite: runs under node:test as lib/stores/README.md shows', async () => {
  const [source = ''] = blocks(section('Test a store'), 'ts')
  // The only type annotation. Node 20 does not strip types.
  const script = source.replace('name: string', 'name')
  const args = ['--test-reporter=tap', '--input-type=module', '--eval', script]
  const { stdout } = await run(process.execPath, args, { cwd: root })
  const expected = await record((runner) =>
    storeSuite(runner, () => memoryStoreFixture(), memoryCapabilities),
  )
  const count = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(stdout)?.[1])
  expect(count('fail')).toBe(0)
  expect(count('pass')).toBe(expected.passed.length)
  expect(count('skipped')).toBe(expected.skipped.length)
})

it('storeSuite: omits unsupported tests when the runner has no it.skip()', async () => {
  const titles: string[] = []
  const plain = {
    describe: (_: string, define: () => void) => define(),
    it: (title: string) => titles.push(title),
  }
  storeSuite(plain, () => memoryStoreFixture(), memoryCapabilities)
  const { passed } = await record((runner) =>
    storeSuite(runner, () => memoryStoreFixture(), memoryCapabilities),
  )
  expect(titles).toHaveLength(passed.length)
})

it('storeSuite: fails a test without reopen() and throws for an unknown feature name', async () => {
  const runs = new Map<string, () => Promise<void>>()
  const runner = {
    describe: (_: string, define: () => void) => define(),
    it: (title: string, run: () => Promise<void>) => runs.set(title, run),
  }
  storeSuite(runner, () => memoryStoreFixture(), { ...memoryCapabilities, restart: true })
  await expect(runs.get('a removed session stays deleted across a restart')?.()).rejects.toThrow(
    'open() returned no reopen()',
  )
  const misspelt = { restarts: false } as object
  expect(() => storeSuite({ describe, it }, () => memoryStoreFixture(), misspelt)).toThrow(
    "storeSuite: there is no feature 'restarts'; did you mean 'restart'?",
  )
})

it('storeSuite: calls close() of every opened store, also after a failed test', async () => {
  let open = 0
  let closed = 0
  const { failed, passed } = await record((runner) =>
    storeSuite(
      runner,
      () => {
        open += 1
        return {
          ...memoryStoreFixture(),
          published: async () => undefined,
          close() {
            closed += 1
          },
        }
      },
      memoryCapabilities,
    ),
  )
  expect(failed.length).toBeGreaterThan(10)
  expect(open).toBe(failed.length + passed.length)
  expect(closed).toBe(open)
})

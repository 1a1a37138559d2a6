import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { storeSuite } from '../../lib/testing/index.ts'
import { root } from '../package/package.ts'
import { blocks, section } from '../package/readme.ts'
import { record } from './recorder.ts'
import { memorySupports, testedMemoryStore } from './tested.ts'

const run = promisify(execFile)

it('runs under node:test as the README has it', async () => {
  const [source = ''] = blocks(section('Testing a store'), 'ts')
  // Its only type; Node 20 takes none.
  const script = source.replace('name: string', 'name')
  const args = ['--test-reporter=tap', '--input-type=module', '--eval', script]
  const { stdout } = await run(process.execPath, args, { cwd: root })
  const told = await record((runner) => storeSuite(runner, () => testedMemoryStore(), memorySupports))
  const count = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(stdout)?.[1])
  expect(count('fail')).toBe(0)
  expect(count('pass')).toBe(told.passed.length)
  expect(count('skipped')).toBe(told.skipped.length)
})

it('leaves out what is not supported where the runner has no skip()', async () => {
  const titles: string[] = []
  const plain = {
    describe: (_: string, define: () => void) => define(),
    it: (title: string) => titles.push(title),
  }
  storeSuite(plain, () => testedMemoryStore(), memorySupports)
  const { passed } = await record((runner) => storeSuite(runner, () => testedMemoryStore(), memorySupports))
  expect(titles).toHaveLength(passed.length)
})

it('says what is missing, and what is misspelt', async () => {
  const { failed } = await record(
    (runner) => storeSuite(runner, () => testedMemoryStore(), { ...memorySupports, restart: true }),
    { only: 'remove() and list() > what was removed stays so over a restart' },
  )
  expect(failed).toHaveLength(1) // open() gives no reopen()
  const misspelt = { restarts: false } as object
  expect(() => storeSuite({ describe, it }, () => testedMemoryStore(), misspelt)).toThrow(
    "storeSuite: there is no feature 'restarts'; did you mean 'restart'?",
  )
})

it('closes what it opened, though the test failed', async () => {
  let open = 0
  let closed = 0
  const { failed, passed } = await record((runner) =>
    storeSuite(
      runner,
      () => {
        open += 1
        return {
          ...testedMemoryStore(),
          published: async () => undefined,
          close() {
            closed += 1
          },
        }
      },
      memorySupports,
    ),
  )
  expect(failed.length).toBeGreaterThan(10)
  expect(open).toBe(failed.length + passed.length)
  expect(closed).toBe(open)
})

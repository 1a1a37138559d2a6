import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { brokenStores } from './broken/index.ts'
import { record } from './recorder.ts'
import { memorySupports, testedFileStore, testedMemoryStore } from './tested.ts'

/** More turns of the event loop than any test of a locker in memory takes. */
const maxTurns = 2000

describe('storeSuite', () => {
  it('passes for memoryStore and fileStore', async () => {
    const memory = await record((runner) => storeSuite(runner, () => testedMemoryStore(), memorySupports))
    expect(memory.failed).toEqual([])
    const file = await record((runner) => storeSuite(runner, () => testedFileStore()))
    expect(file.failed).toEqual([])
    expect(file.skipped).toEqual([])
    expect(file.passed.length).toBe(memory.passed.length + memory.skipped.length)
  })

  it.each(brokenStores)('detects the bug: $bug', async ({ caughtBy, suite, mayHang }) => {
    const { failed } = await record(suite, { only: caughtBy, ...(mayHang && { maxTurns }) })
    expect(failed).toEqual([caughtBy])
  })

  it('passes for the locker in memory within the turns that its bugs get', async () => {
    const caughtBy = new Set(brokenStores.flatMap((broken) => (broken.mayHang ? [broken.caughtBy] : [])))
    const supports = { ...memorySupports, locker: true }
    const withLocker = () => testedMemoryStore((store) => ({ ...store, locker: memoryLocker() }))
    for (const only of caughtBy) {
      const { passed } = await record((runner) => storeSuite(runner, withLocker, supports), {
        only,
        maxTurns,
      })
      expect(passed).toEqual([only])
    }
  })
})

import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { brokenStores } from './broken/index.ts'
import { fileStoreFixture, memoryCapabilities, memoryStoreFixture } from './fixtures.ts'
import { record } from './recorder.ts'

/** More turns of the event loop than any test of the memory locker takes. */
const maxTurns = 2000

describe('storeSuite', () => {
  it('passes for memoryStore and fileStore', async () => {
    const memory = await record((runner) =>
      storeSuite(runner, () => memoryStoreFixture(), memoryCapabilities),
    )
    expect(memory.failed).toEqual([])
    const file = await record((runner) => storeSuite(runner, () => fileStoreFixture()))
    expect(file.failed).toEqual([])
    expect(file.skipped).toEqual([])
    expect(file.passed.length).toBe(memory.passed.length + memory.skipped.length)
  })

  it.each(brokenStores)('detects the bug: $bug', async ({ caughtBy, suite, mayHang }) => {
    const { failed } = await record(suite, { only: caughtBy, ...(mayHang && { maxTurns }) })
    expect(failed).toEqual([caughtBy])
  })

  it('passes for the memory locker within the turns that a locker with a bug gets', async () => {
    const caughtBy = new Set(brokenStores.flatMap((broken) => (broken.mayHang ? [broken.caughtBy] : [])))
    const capabilities = { ...memoryCapabilities, locker: true }
    const withLocker = () => memoryStoreFixture((store) => ({ ...store, locker: memoryLocker() }))
    for (const only of caughtBy) {
      const { passed } = await record((runner) => storeSuite(runner, withLocker, capabilities), {
        only,
        maxTurns,
      })
      expect(passed).toEqual([only])
    }
  })
})

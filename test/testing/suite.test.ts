import { describe, expect, it } from 'vitest'
import { storeSuite } from '../../lib/testing/index.ts'
import { brokenStores } from './broken/index.ts'
import { record } from './recorder.ts'
import { memorySupports, testedFileStore, testedMemoryStore } from './tested.ts'

/** Milliseconds that a test may take that a bug keeps from ending. */
const deadline = 2000

describe('storeSuite', () => {
  it('finds nothing in good stores', async () => {
    const memory = await record((runner) => storeSuite(runner, () => testedMemoryStore(), memorySupports))
    expect(memory.failed).toEqual([])
    const file = await record((runner) => storeSuite(runner, () => testedFileStore()))
    expect(file.failed).toEqual([])
    expect(file.skipped).toEqual([])
    expect(file.passed.length).toBe(memory.passed.length + memory.skipped.length)
  })

  it.each(brokenStores)('finds that $bug', async ({ caughtBy, suite }) => {
    const { failed } = await record(suite, { only: caughtBy, deadline })
    expect(failed).toEqual([caughtBy])
  })
})

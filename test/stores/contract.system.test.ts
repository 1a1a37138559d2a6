/** The contract of stores for options of the file store; contract.test.ts has it for the defaults. */
import { statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, it } from 'vitest'
import type { Durability } from '../../lib/index.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { testedFileStore } from '../testing/tested.ts'

const runner = { describe, it }

const durabilities: Durability[] = ['fragment', 'none']

describe.each(durabilities)('fileStore, durability: %s', (durability) => {
  storeSuite(runner, () => testedFileStore({ durability }))
})

describe('fileStore with createFolders', () => {
  storeSuite(runner, () => testedFileStore({ createFolders: true }), { missingFolders: false })
})

describe('fileStore with a separate sessionDirectory', () => {
  storeSuite(runner, async () => testedFileStore({ sessionDirectory: await temporaryDirectory() }))
})

/** Linux has a second file system everywhere. */
const memory = '/dev/shm'
const device = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.dev
const isApart = ![undefined, device(tmpdir())].includes(device(memory))

describe.runIf(isApart)('fileStore with a sessionDirectory on another file system', () => {
  const open = async () => testedFileStore({ sessionDirectory: await temporaryDirectory(memory) })
  // Publishing would have to copy all 4 GiB.
  storeSuite(runner, open, { bigOffsets: false })
})

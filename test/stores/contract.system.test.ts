/** The store contract for the options of the file store; contract.test.ts tests the defaults. */
import { statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, it } from 'vitest'
import type { Durability } from '../../lib/index.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { fileStoreFixture } from '../testing/fixtures.ts'

const runner = { describe, it }

const durabilities: Durability[] = ['fragment', 'none']

describe.each(durabilities)('fileStore, durability: %s', (durability) => {
  storeSuite(runner, () => fileStoreFixture({ durability }))
})

describe('fileStore with createFolders', () => {
  storeSuite(runner, () => fileStoreFixture({ createFolders: true }), { missingFolders: false })
})

describe('fileStore with a separate sessionDirectory', () => {
  storeSuite(runner, async () => fileStoreFixture({ sessionDirectory: await temporaryDirectory() }))
})

/** On Linux a tmpfs: another file system than the temporary directory. */
const sharedMemory = '/dev/shm'
const device = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.dev
const isOtherDevice = ![undefined, device(tmpdir())].includes(device(sharedMemory))

describe.runIf(isOtherDevice)('fileStore with a sessionDirectory on another file system', () => {
  const open = async () => fileStoreFixture({ sessionDirectory: await temporaryDirectory(sharedMemory) })
  // Publishing would copy all 4 GiB.
  storeSuite(runner, open, { bigOffsets: false })
})

import assert from 'node:assert/strict'
import { describe, it } from 'vitest'
import { keysOf, type Section, type ServiceCapabilities, type ServiceFixture } from './contract/fixture.ts'
import { listSection } from './contract/list.ts'
import { readSection } from './contract/read.ts'
import { removeSection } from './contract/remove.ts'
import { completionSection, partSection, uploadSection } from './contract/uploads.ts'
import { conditionSection, writeSection } from './contract/write.ts'

const prepareSection: Section = {
  name: 'prepare()',
  tests: [
    {
      title: 'resolves for concurrent and repeated calls, and leaves no objects',
      async run({ service }) {
        await Promise.all([service.prepare(), service.prepare()])
        await service.prepare()
        assert.deepEqual(await keysOf(service), [])
      },
    },
  ],
}

const sections = [
  prepareSection,
  writeSection,
  conditionSection,
  readSection,
  listSection,
  removeSection,
  uploadSection,
  completionSection,
  partSection,
]

/** Time limit of a test in milliseconds. Some tests write a thousand objects. */
const timeout = 120_000

const allSupported: ServiceCapabilities = {
  percentInSources: true,
  checksCompletion: true,
  unnamedParts: true,
  discardsParts: true,
}

/**
 * The contract of `ObjectService` as a suite of tests.
 * @param open returns a new empty service for each test; the suite prepares it
 * @param supports what the service lacks; default: nothing
 * @param skipLong leaves out the long tests, because another run of the suite has them; default: false
 */
export function serviceSuite(
  open: () => Promise<ServiceFixture>,
  supports: Partial<ServiceCapabilities> = {},
  { skipLong = false }: { readonly skipLong?: boolean } = {},
): void {
  for (const { name, tests } of sections) {
    describe(name, () => {
      for (const { title, isLong = false, run } of tests) {
        if (isLong && skipLong) continue
        it(title, { timeout }, async () => {
          const fixture = await open()
          await fixture.service.prepare()
          await run({ ...fixture, supports: { ...allSupported, ...supports } })
        })
      }
    })
  }
}

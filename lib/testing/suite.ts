import { assertKnownKeys } from '../validate.ts'
import { appendSection } from './append.ts'
import { fixtureOf } from './contract-test.ts'
import { decisionSection } from './decide.ts'
import type { Capabilities, Runner, StoreFixture } from './fixture.ts'
import { lockSection } from './lock.ts'
import { publishSection } from './publish.ts'
import { removeSection } from './remove.ts'
import { replySection } from './reply.ts'
import { sessionSection } from './session.ts'
import { sharingSection } from './share.ts'

const all: Capabilities = {
  restart: true,
  sharing: true,
  locker: true,
  paths: true,
  folders: true,
  missingFolders: true,
  losses: true,
  bigOffsets: true,
}

const sections = [
  sessionSection,
  appendSection,
  decisionSection,
  publishSection,
  replySection,
  removeSection,
  lockSection,
  sharingSection,
]

/**
 * Tells a test runner of all tests of the contract that `Store` is. To be called where the runner takes tests.
 *
 * @param open gives a store of which nobody knows yet, for each test another
 * @param capabilities what the store cannot do; all else is tested
 * @throws {TypeError} if `supports` has an unknown name
 * @example storeSuite({ describe, it }, () => open(), { locker: false })
 */
export function storeSuite(
  { describe, it }: Runner,
  open: () => StoreFixture | Promise<StoreFixture>,
  capabilities: Partial<Capabilities> = {},
): void {
  assertKnownKeys('storeSuite', 'feature', capabilities, Object.keys(all))
  const supported = { ...all, ...capabilities }
  for (const { name, tests } of sections) {
    describe(name, () => {
      for (const { title, needs, run } of tests) {
        const test = async (): Promise<void> => {
          const fixture = await open()
          try {
            await run(fixtureOf(fixture), supported)
          } finally {
            await fixture.close?.()
          }
        }
        const lacks = needs.filter((feature) => !supported[feature])
        if (lacks.length === 0) it(title, test)
        else it.skip?.(`${title} (not supported: ${lacks.join(', ')})`, test)
      }
    })
  }
}

import { assertKnownKeys } from '../validate.ts'
import { appendSection } from './append.ts'
import { appendAndPublishSection } from './append-and-publish.ts'
import { concurrencySection } from './concurrent.ts'
import { fixtureOf } from './contract-test.ts'
import { decisionSection } from './decide.ts'
import type { Capabilities, Runner, StoreFixture } from './fixture.ts'
import { lockSection } from './lock.ts'
import { publishSection } from './publish.ts'
import { removeSection } from './remove.ts'
import { replySection } from './reply.ts'
import { sessionSection } from './session.ts'
import { sharingSection } from './share.ts'

const allCapabilities: Capabilities = {
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
  appendAndPublishSection,
  decisionSection,
  publishSection,
  replySection,
  removeSection,
  lockSection,
  sharingSection,
  concurrencySection,
]

/**
 * Defines the tests of the contract of `Store` in a test runner. Call it where the runner accepts `describe`
 * and `it`. Tests of a capability that is `false` are passed to `it.skip`; all other tests run.
 *
 * @param runner the functions of the test runner
 * @param open returns a new, empty store; called once for each test
 * @param capabilities the capabilities that the store does not have, as `false`; an omitted one is tested
 * @throws {TypeError} if `capabilities` has an unknown name
 * @example storeSuite({ describe, it }, () => open(), { locker: false })
 */
export function storeSuite(
  { describe, it }: Runner,
  open: () => StoreFixture | Promise<StoreFixture>,
  capabilities: Partial<Capabilities> = {},
): void {
  assertKnownKeys('storeSuite', 'feature', capabilities, Object.keys(allCapabilities))
  const supported = { ...allCapabilities, ...capabilities }
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
        const missing = needs.filter((capability) => !supported[capability])
        if (missing.length === 0) it(title, test)
        else it.skip?.(`${title} (not supported: ${missing.join(', ')})`, test)
      }
    })
  }
}

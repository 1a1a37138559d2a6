import { assertKnownKeys } from '../validate.ts'
import { appending } from './append.ts'
import { settingOf } from './case.ts'
import { deciding } from './decide.ts'
import { locking } from './lock.ts'
import { publishing } from './publish.ts'
import { removing } from './remove.ts'
import { replying } from './reply.ts'
import { beginning } from './session.ts'
import { sharing } from './share.ts'
import type { Runner, Supports, TestedStore } from './tested.ts'

const all: Supports = {
  restart: true,
  sharing: true,
  locker: true,
  paths: true,
  folders: true,
  missingFolders: true,
  losses: true,
  bigOffsets: true,
}

const chapters = [beginning, appending, deciding, publishing, replying, removing, locking, sharing]

/**
 * Tells a test runner of all tests of the contract that `Store` is. To be called where the runner takes tests.
 *
 * @param open gives a store of which nobody knows yet, for each test another
 * @param supports what the store cannot do; all else is tested
 * @throws {TypeError} if `supports` has an unknown name
 * @example storeSuite({ describe, it }, () => open(), { locker: false })
 */
export function storeSuite(
  { describe, it }: Runner,
  open: () => TestedStore | Promise<TestedStore>,
  supports: Partial<Supports> = {},
): void {
  assertKnownKeys('storeSuite', 'feature', supports, Object.keys(all))
  const supported = { ...all, ...supports }
  for (const { name, cases } of chapters) {
    describe(name, () => {
      for (const { title, needs, run } of cases) {
        const test = async (): Promise<void> => {
          const tested = await open()
          try {
            await run(settingOf(tested), supported)
          } finally {
            await tested.close?.()
          }
        }
        const lacks = needs.filter((feature) => !supported[feature])
        if (lacks.length === 0) it(title, test)
        else it.skip?.(`${title} (not supported: ${lacks.join(', ')})`, test)
      }
    })
  }
}

import assert from 'node:assert/strict'
import { describe, it } from 'vitest'
import { joining } from './contract/join.ts'
import { listing } from './contract/list.ts'
import { reading } from './contract/read.ts'
import { removing } from './contract/remove.ts'
import { type Chapter, type Keeps, keysOf, type TestedSpace } from './contract/tested.ts'
import { conditions, writing } from './contract/write.ts'

const preparing: Chapter = {
  name: 'prepare()',
  cases: [
    {
      title: 'resolves for concurrent and repeated calls, and leaves no objects',
      async run({ space }) {
        await Promise.all([space.prepare(), space.prepare()])
        await space.prepare()
        assert.deepEqual(await keysOf(space), [])
      },
    },
  ],
}

const chapters = [preparing, writing, conditions, reading, listing, removing, joining]

/** How long a test may take, in milliseconds: some write a thousand objects. */
const timeout = 120_000

/**
 * The contract that `ObjectSpace` is, as tests.
 * @param open gives a space in which there is nothing yet, for each test another; it is prepared by the suite
 * @param skipLong leaves out the long cases, because another run of the suite has them; default: false
 */
export function spaceSuite(
  open: () => Promise<TestedSpace>,
  keeps: Partial<Keeps> = {},
  { skipLong = false }: { readonly skipLong?: boolean } = {},
): void {
  for (const { name, cases } of chapters) {
    describe(name, () => {
      for (const { title, isLong = false, run } of cases) {
        if (isLong && skipLong) continue
        it(title, { timeout }, async () => {
          const tested = await open()
          await tested.space.prepare()
          await run({ ...tested, keeps: { removeIf: true, join: true, percent: true, ...keeps } })
        })
      }
    })
  }
}

import assert from 'node:assert/strict'
import { describe, it } from 'vitest'
import { joining } from './space/join.ts'
import { listing } from './space/list.ts'
import { reading } from './space/read.ts'
import { removing } from './space/remove.ts'
import { type Chapter, type Keeps, keysOf, type TestedSpace } from './space/tested.ts'
import { conditions, writing } from './space/write.ts'

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

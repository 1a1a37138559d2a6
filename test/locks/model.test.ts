import { describe, expect, it } from 'vitest'
import { explore, type Mutant, mutants, places, type Variant } from './model.ts'

/** The last column is the number of states. `model.system.test.ts` has larger variants. */
const variants: readonly (readonly [string, Variant, number])[] = [
  ['the creator runs', { creatorRuns: true, requests: [2, 2] }, 3_397],
  ['three processes', { creatorRuns: true, requests: [1, 1, 1] }, 19_723],
  ['the creator has exited', { creatorRuns: false, requests: [2, 2] }, 3_885],
  ['Windows', { creatorRuns: true, requests: [2, 2], isWindows: true }, 3_397],
  ['Windows, the creator has exited', { creatorRuns: false, requests: [2, 2], isWindows: true }, 3_885],
  ['a process starts', { creatorRuns: true, requests: [2, 2], lastStarts: true }, 3_597],
  [
    'a process starts, the creator has exited',
    { creatorRuns: false, requests: [2, 2], lastStarts: true },
    4_553,
  ],
  ['a lock file remains', { creatorRuns: true, requests: [2, 2], unlinkFails: true }, 3_987],
]

/** At least one of these shows each mutant. */
const smallVariants: readonly Variant[] = [
  { creatorRuns: true, requests: [1, 1] },
  { creatorRuns: false, requests: [1, 1] },
  { creatorRuns: true, requests: [2, 2] },
  { creatorRuns: false, requests: [2, 2] },
  { creatorRuns: false, requests: [1, 1], isWindows: true },
  { creatorRuns: false, requests: [1, 1], lastStarts: true },
  { creatorRuns: false, requests: [1, 1], unlinkFails: true },
  { creatorRuns: true, requests: [1, 1, 1] },
  { creatorRuns: false, requests: [1, 1, 1] },
]

describe('the model of the lock protocol', () => {
  it.each(variants)(
    'has one holder at a time, and each request gets the lock or times out: %s',
    (_, variant, states) => {
      const { violation, trace, ...result } = explore(variant)
      expect({ violation, trace }).toEqual({})
      expect(result.states).toBe(states)
    },
  )

  it('takes every step of the protocol', () => {
    const withTwoProcesses = smallVariants.filter(({ requests }) => requests.length === 2)
    const reached = new Set(withTwoProcesses.flatMap((variant) => [...explore(variant).places]))
    expect(places.filter((place) => !reached.has(place))).toEqual([])
  })

  it.each(Object.entries(mutants))('finds a mutant that "%s": %s', (mutant, expected) => {
    for (const variant of smallVariants) {
      const { violation } = explore({ ...variant, mutant: mutant as Mutant })
      if (violation !== undefined) return expect(violation).toBe(expected)
    }
    expect.fail('found no violation')
  })
})

import { expect, it } from 'vitest'
import { explore, type Variant } from './model.ts'

/** The variants of `model.test.ts` with more requests and processes. The last column is the number of states. */
const variants: readonly (readonly [string, Variant, number])[] = [
  ['the creator runs', { creatorRuns: true, requests: [2, 2, 2] }, 842_664],
  ['the creator has exited', { creatorRuns: false, requests: [2, 2, 2] }, 463_181],
  ['the creator has exited, one request', { creatorRuns: false, requests: [1, 1, 1] }, 67_095],
  ['four processes', { creatorRuns: true, requests: [1, 1, 1, 1] }, 1_049_617],
  ['Windows', { creatorRuns: true, requests: [1, 2, 2], isWindows: true }, 443_669],
  ['Windows, the creator has exited', { creatorRuns: false, requests: [1, 2, 2], isWindows: true }, 242_970],
  ['a process starts', { creatorRuns: true, requests: [1, 2, 1], lastStarts: true }, 118_333],
  [
    'a process starts, the creator has exited',
    { creatorRuns: false, requests: [2, 1, 1], lastStarts: true },
    180_633,
  ],
  ['a lock file remains', { creatorRuns: true, requests: [1, 1, 2], unlinkFails: true }, 106_885],
  [
    'a lock file remains, the creator has exited',
    { creatorRuns: false, requests: [1, 1, 2], unlinkFails: true },
    152_632,
  ],
]

it.each(variants)(
  'the model of the lock protocol has one holder at a time, and each request gets the lock or times out: %s',
  (_, variant, states) => {
    const { violation, trace, ...result } = explore(variant)
    expect({ violation, trace }).toEqual({})
    expect(result.states).toBe(states)
  },
  600_000,
)

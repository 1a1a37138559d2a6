import { describe, expect, it } from 'vitest'
import { explore, type Mutant, mutants, type Variant } from './model.ts'

/** The last column is the number of states. `model.system.test.ts` has larger variants. */
const variants: readonly (readonly [string, Variant, number])[] = [
  [
    'a small file',
    { service: 'small', nodes: 2, packets: [2], interrupts: true, crashes: 1, consumers: 1, caches: true },
    0,
  ],
  ['a small file, a hook', { service: 'small', nodes: 2, packets: [2], hook: true, crashes: 1 }, 0],
  [
    'two small files of one name',
    { service: 'small', nodes: 2, packets: [1, 1], crashes: 1, consumers: 1 },
    0,
  ],
  [
    'two small files, overwrite',
    { service: 'small', nodes: 2, packets: [1, 1], overwrite: true, crashes: 1 },
    0,
  ],
  ['S3', { service: 's3', nodes: 2, packets: [2], crashes: 1, consumers: 1 }, 0],
  ['S3, interrupted fragments', { service: 's3', nodes: 2, packets: [2], interrupts: true, caches: true }, 0],
  ['S3, a hook', { service: 's3', nodes: 2, packets: [2], hook: true }, 0],
  ['S3, aborted uploads', { service: 's3', nodes: 2, packets: [2], aborts: 1 }, 0],
  ['S3, Cancel-Session', { service: 's3', nodes: 2, packets: [2], cancels: true }, 0],
  ['Ceph 16, two files of one name', { service: 'ceph', nodes: 2, packets: [1, 1] }, 0],
  ['Azure', { service: 'azure', nodes: 2, packets: [2], interrupts: true, crashes: 1, consumers: 1 }, 0],
  [
    'Azure, two files of one name',
    { service: 'azure', nodes: 2, packets: [1, 1], interrupts: true, crashes: 1 },
    0,
  ],
]

describe('the model of the object store', () => {
  it.each(variants)('keeps all promises: %s', (_, variant, states) => {
    const { violation, trace, ...result } = explore(variant)
    expect({ violation, trace }).toEqual({})
    expect(result.states).toBe(states)
  })

  it.each(Object.entries(mutants))('finds a mutant that "%s": %j', (mutant, [expected, setting]) => {
    expect(explore({ ...setting, mutant: mutant as Mutant }).violation).toBe(expected)
  })
})

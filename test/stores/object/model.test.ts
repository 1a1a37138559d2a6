import { describe, expect, it } from 'vitest'
import { explore, type Mutant, mutants, type Variant } from './model.ts'

const small = { service: 'small', nodes: 2 } as const
const s3 = { service: 's3', nodes: 2 } as const
const azure = { service: 'azure', nodes: 2 } as const

/** The last column is the number of states. `model.system.test.ts` has larger variants. */
const variants: readonly (readonly [string, Variant, number])[] = [
  ['a small file', { ...small, packets: [2], interrupts: true, crashes: 1, consumers: 1, caches: true }, 683],
  ['a small file, a hook', { ...small, packets: [1], hook: true, crashes: 1 }, 37],
  ['two small files of one name', { ...small, packets: [1, 1], crashes: 1, consumers: 1 }, 334],
  ['two small files, overwrite', { ...small, packets: [1, 1], overwrite: true, crashes: 1 }, 386],
  ['S3', { ...s3, packets: [2], crashes: 1 }, 2_090],
  ['S3, interrupted fragments', { ...s3, packets: [2], interrupts: true, caches: true }, 2_457],
  ['S3, a hook', { ...s3, packets: [1], hook: true, failures: 1, crashes: 1 }, 246],
  ['S3, aborted uploads', { ...s3, packets: [2], aborts: 1 }, 2_555],
  ['S3, Cancel-Session', { ...s3, packets: [2], cancels: true }, 963],
  ['S3, two files of one name', { ...s3, packets: [1, 1] }, 510],
  ['Ceph 16, two files of one name', { ...s3, service: 'ceph', packets: [1, 1] }, 1_056],
  ['Azure', { ...azure, packets: [2], crashes: 1 }, 666],
  ['Azure, two files of one name', { ...azure, packets: [1, 1], interrupts: true }, 734],
]

describe('the model of the object store', () => {
  it.each(variants)('keeps all promises: %s', (_, variant, states) => {
    const { violation, trace, ...result } = explore(variant)
    expect({ violation, trace }).toEqual({})
    expect(result.states).toBe(states)
  })

  const mutantCases = Object.entries(mutants).map(
    ([mutant, [violation, setting]]) => [mutant, violation, setting] as const,
  )

  it.each(mutantCases)('finds a mutant that "%s": %s', (mutant, violation, setting) => {
    expect(explore({ ...setting, mutant: mutant as Mutant }).violation).toBe(violation)
  })
})

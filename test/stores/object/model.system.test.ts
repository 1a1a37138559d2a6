import { expect, it } from 'vitest'
import { explore, type Variant } from './model.ts'

const small = { service: 'small', nodes: 2 } as const
const s3 = { service: 's3', nodes: 2 } as const
const azure = { service: 'azure', nodes: 2 } as const
const faults = { crashes: 1, failures: 1, consumers: 1 } as const

/** Larger variants than those of `model.test.ts`. The last column is the number of states. */
const variants: readonly (readonly [string, Variant, number])[] = [
  ['a small file, three nodes', { ...small, ...faults, nodes: 3, packets: [3], interrupts: true }, 47_665],
  [
    'a small file, a hook',
    { ...small, ...faults, packets: [2], hook: true, interrupts: true, caches: true },
    6_554,
  ],
  [
    'a small file, frozen nodes',
    { ...small, ...faults, packets: [3], freezes: true, allows: ['published twice'] },
    18_623,
  ],
  [
    'a small file, Cancel-Session',
    { ...small, packets: [3], cancels: true, crashes: 1, failures: 1 },
    11_558,
  ],
  ['two small files, overwrite', { ...small, ...faults, packets: [2, 1], overwrite: true }, 42_443],
  ['S3', { ...s3, ...faults, packets: [2] }, 16_020],
  ['S3, three nodes', { ...s3, nodes: 3, packets: [3] }, 94_140],
  ['S3, interrupted fragments', { ...s3, packets: [3], interrupts: true, units: 3, caches: true }, 43_225],
  ['S3, parts', { ...s3, packets: [3], interrupts: true, units: 3, begins: 'part', failures: 1 }, 28_672],
  ['S3, other ETags', { ...s3, service: 's3 kms', packets: [3], interrupts: true }, 37_522],
  ['S3, a hook', { ...s3, packets: [2], hook: true, crashes: 1, failures: 1 }, 24_666],
  [
    'S3, a hook, frozen nodes',
    { ...s3, packets: [2], hook: true, freezes: true, allows: ['hook twice'] },
    56_145,
  ],
  [
    'S3, Cancel-Session and sweeps',
    { ...s3, packets: [3], cancels: true, expirations: 2, crashes: 1 },
    42_912,
  ],
  ['S3, two files of one name', { ...s3, packets: [2, 1], crashes: 1 }, 16_758],
  ['S3, two files, overwrite', { ...s3, packets: [2, 1], overwrite: true, consumers: 1 }, 25_405],
  [
    'S3, uploads that no record has',
    { ...s3, packets: [0, 2], begins: 'strays', expirations: 1, interrupts: true, crashes: 1 },
    32_507,
  ],
  ['Ceph 16, two files of one name', { ...s3, service: 'ceph', packets: [2, 1], crashes: 1 }, 23_103],
  ['Azure', { ...azure, ...faults, packets: [2] }, 31_350],
  ['Azure, interrupted fragments', { ...azure, packets: [3], interrupts: true, units: 3 }, 25_543],
  ['Azure, a hook', { ...azure, packets: [2], hook: true, aborts: 1, crashes: 1, expirations: 1 }, 24_500],
  ['Azure, two files of one name', { ...azure, packets: [2, 1], crashes: 1 }, 48_097],
  ['Azure, two files, overwrite', { ...azure, packets: [2, 1], overwrite: true, crashes: 1 }, 75_892],
]

it.each(variants)(
  'the model of the object store keeps all promises: %s',
  (_, variant, states) => {
    const { violation, trace, ...result } = explore(variant)
    expect({ violation, trace }).toEqual({})
    expect(result.states).toBe(states)
  },
  600_000,
)

import { expect, it } from 'vitest'
import { explore, type Variant } from './model.ts'

const small = { service: 'small', nodes: 2 } as const
const s3 = { service: 's3', nodes: 2 } as const
const azure = { service: 'azure', nodes: 2 } as const
const faults = { crashes: 1, failures: 1, consumers: 1 } as const

/** Larger variants than those of `model.test.ts`. The last column is the number of states. */
const variants: readonly (readonly [string, Variant, number])[] = [
  ['a small file, three nodes', { ...small, ...faults, nodes: 3, packets: [3] }, 15_933],
  ['a small file, interrupted', { ...small, ...faults, packets: [2], interrupts: true, caches: true }, 3_152],
  ['a small file, a hook', { ...small, packets: [2], hook: true, crashes: 1 }, 13_632],
  [
    'a small file, a hook, a consumer',
    { ...small, packets: [2], hook: true, consumers: 1, interrupts: true },
    14_363,
  ],
  [
    'a small file, overwrite',
    { ...small, ...faults, packets: [2], overwrite: true, interrupts: true, caches: true },
    5_723,
  ],
  [
    'a small file, frozen nodes',
    { ...small, packets: [3], overwrite: true, consumers: 1, freezes: true, allows: ['published twice'] },
    1_203,
  ],
  ['a small file, Cancel-Session', { ...small, packets: [3], cancels: true, crashes: 1, failures: 1 }, 6_651],
  [
    'two small files, overwrite',
    { ...small, packets: [2, 1], overwrite: true, crashes: 1, consumers: 1 },
    4_537,
  ],
  ['S3', { ...s3, ...faults, packets: [2] }, 20_651],
  ['S3, interrupted fragments', { ...s3, packets: [3], interrupts: true, units: 3, caches: true }, 51_631],
  ['S3, parts', { ...s3, packets: [3], interrupts: true, units: 3, begins: 'part', failures: 1 }, 28_754],
  ['S3, other ETags', { ...s3, service: 's3 kms', packets: [2], interrupts: true, crashes: 1 }, 14_918],
  [
    'S3, one PUT or several parts',
    { ...s3, packets: [2], mayBeSmall: true, crashes: 1, interrupts: true, overwrite: true },
    11_241,
  ],
  ['S3, one PUT or several parts, failures', { ...s3, packets: [2], mayBeSmall: true, failures: 1 }, 6_919],
  ['S3, slow completions', { ...s3, packets: [3], freezes: true }, 2_903],
  ['S3, a hook', { ...s3, packets: [2], hook: true }, 13_562],
  ['S3, a hook, interrupted fragments', { ...s3, packets: [2], hook: true, interrupts: true }, 32_138],
  ['S3, a hook that is added', { ...s3, packets: [1], hook: true, begins: 'part', crashes: 1 }, 12],
  ['S3, a hook, a consumer', { ...s3, packets: [2], hook: true, consumers: 1 }, 20_658],
  ['S3, a hook, sweeps', { ...s3, packets: [1], hook: true, expirations: 2, crashes: 1 }, 8_297],
  [
    'S3, Cancel-Session and sweeps',
    { ...s3, packets: [2], cancels: true, expirations: 2, crashes: 1 },
    19_406,
  ],
  ['S3, two files of one name', { ...s3, packets: [2, 1], crashes: 1 }, 19_656],
  ['S3, two files, overwrite', { ...s3, packets: [1, 1], overwrite: true, consumers: 1, crashes: 1 }, 6_595],
  [
    'S3, uploads that no record has',
    { ...s3, packets: [0, 2], begins: 'strays', expirations: 1, interrupts: true, crashes: 1 },
    37_970,
  ],
  [
    'Ceph 16, two files of one name',
    { ...s3, service: 'ceph', packets: [1, 1], failures: 1, crashes: 1 },
    29_053,
  ],
  [
    'Ceph 16, Cancel-Session',
    { ...s3, service: 'ceph', nodes: 3, packets: [2, 1], begins: 'part', cancels: true },
    17_145,
  ],
  [
    'Ceph 16, parts',
    { ...s3, service: 'ceph', packets: [3], interrupts: true, units: 3, begins: 'part' },
    3_268,
  ],
  ['Azure', { ...azure, ...faults, packets: [2] }, 9_879],
  ['Azure, interrupted fragments', { ...azure, packets: [3], interrupts: true, units: 3 }, 8_187],
  ['Azure, a hook', { ...azure, packets: [2], hook: true, aborts: 1, crashes: 1 }, 45_018],
  [
    'Azure, one PUT or several blocks',
    { ...azure, packets: [2], mayBeSmall: true, crashes: 1, failures: 1 },
    5_017,
  ],
  ['Azure, two files of one name', { ...azure, packets: [2, 1], crashes: 1 }, 7_684],
  ['Azure, two files, overwrite', { ...azure, packets: [2, 1], overwrite: true }, 5_255],
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

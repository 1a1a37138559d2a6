import { describe, expect, it } from 'vitest'
import { objectCases } from './object-services/cases.ts'
import type { CandidateResult, CaseResult } from './rounds.ts'
import { compare } from './targets.ts'

const row = (candidate: string, median: number, more: Partial<CandidateResult> = {}): CandidateResult => ({
  candidate,
  value: { median, min: median, max: median },
  cpu: median,
  peak: median,
  client: 0,
  ...more,
})

const result = (name: string, rows: CandidateResult[]): CaseResult => ({
  name,
  unit: 'MB/s',
  seconds: 1,
  rows,
})

describe('compare', () => {
  it('compares speed, processor time and memory with tus, and requests and remaining objects with a number', () => {
    const here = row('bits', 12, { cpu: 11, peak: 13, requests: 17.5, left: 1 })
    const tus = row('@tus/s3-store', 10, { requests: 40, left: 8 })
    const name = 'objects 8 x 32 MiB, Ceph, direct'
    expect(compare([result(name, [here, tus])])).toEqual([
      { name: `${name}: bits to @tus/s3-store`, measured: 1.2, target: '>= 1.2', isMet: true, limits: {} },
      {
        name: `${name}: cpu of bits to @tus/s3-store`,
        measured: 1.1,
        target: '<= 1',
        isMet: false,
        limits: {},
      },
      {
        name: `${name}: peak of bits to @tus/s3-store`,
        measured: 1.3,
        target: '<= 1.3',
        isMet: true,
        limits: {},
      },
      { name: `${name}: requests of bits`, measured: 17.5, target: '<= 17.5', isMet: true, limits: {} },
      { name: `${name}: left of bits`, measured: 1, target: '<= 0', isMet: false, limits: {} },
    ])
  })

  it('has targets for every case over object services', () => {
    for (const { name, candidates } of objectCases(false)) {
      const rows = candidates.map((candidate) => row(candidate.name, 1, { requests: 1, left: 0 }))
      expect(compare([result(name, rows)]), name).toHaveLength(5)
    }
  })

  it('leaves out the requests of cases with a delay, which are not counted', () => {
    const rows = [row('bits', 1), row('@tus/azure-store', 1)]
    expect(compare([result('objects 200 x 64 KiB, Azurite, 20 ms', rows)])).toHaveLength(3)
  })
})

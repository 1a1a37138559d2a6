import { afterEach, describe, expect, it, vi } from 'vitest'
import { noise } from '../../support/bytes.ts'
import { listed } from '../../support/store.ts'
import { type Simulation, type SimulationResult, simulate } from './interleaving.ts'

const day = 24 * 60 * 60_000
const file = noise(20_000)
const small = noise(700)
const mixed = [200, 1500, 5000, 20_000]

const variants: Record<string, Omit<Simulation, 'seed'>> = {
  's3, a file of several parts': { semantics: 'S3', file, fragmentSizes: mixed, failures: 0, crashes: 0 },
  's3, with failures and crashes': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
  },
  // It is one part, or none if it is published by one PUT.
  's3, a file that may have parts': {
    semantics: 'S3',
    file: file.subarray(0, 4500),
    fragmentSizes: [200, 1500, 2900, 4500],
    failures: 0.03,
    crashes: 2,
  },
  's3, a file that may have parts, with a consumer': {
    // As above.
    overwrite: true,
    semantics: 'S3',
    file: file.subarray(0, 4500),
    fragmentSizes: [1500, 2900, 4500],
    failures: 0,
    crashes: 0,
    consumes: true,
  },
  'azure, a file that may have parts, with a consumer': {
    // As above.
    overwrite: true,
    semantics: 'Azure',
    file: file.subarray(0, 4500),
    fragmentSizes: [1500, 2900, 4500],
    failures: 0,
    crashes: 0,
    consumes: true,
  },
  // Late parts replace others of the same number.
  's3, parts of different sizes': {
    semantics: 'S3',
    file,
    fragmentSizes: [3000, 3500, 4100, 6900],
    failures: 0.25,
    crashes: 4,
  },
  's3, overwrite': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
    overwrite: true,
  },
  's3, equal parts': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
    equalParts: true,
  },
  's3, no condition at completion': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
    checksCompletion: false,
  },
  's3, separate objects': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
    separate: true,
  },
  's3, a small file': { semantics: 'S3', file: small, fragmentSizes: [100, 700], failures: 0.03, crashes: 2 },
  's3, with a consumer': {
    semantics: 'S3',
    file,
    fragmentSizes: mixed,
    failures: 0,
    crashes: 0,
    consumes: true,
  },
  'azure, with a consumer': {
    semantics: 'Azure',
    file,
    fragmentSizes: mixed,
    failures: 0,
    crashes: 0,
    consumes: true,
  },
  'a small file, with a consumer': {
    semantics: 'S3',
    // Without this a node that is delayed before its PUT may publish the file again.
    overwrite: true,
    file: small,
    fragmentSizes: [100, 700],
    failures: 0,
    crashes: 0,
    consumes: true,
  },
  'azure, a file of several parts': {
    semantics: 'Azure',
    file,
    fragmentSizes: mixed,
    failures: 0,
    crashes: 0,
  },
  'azure, with failures and crashes': {
    semantics: 'Azure',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
  },
  'azure, separate objects': {
    semantics: 'Azure',
    file,
    fragmentSizes: mixed,
    failures: 0.03,
    crashes: 2,
    separate: true,
  },
  'azure, a small file': {
    semantics: 'Azure',
    file: small,
    fragmentSizes: [100, 700],
    failures: 0.03,
    crashes: 2,
  },
}

/** Two sessions of one name, with different files. */
const other = noise(12_000, 2)
const failing = { failures: 0.03, crashes: 2, fragmentSizes: mixed }
const twoSessions: Record<string, Omit<Simulation, 'seed'>> = {
  's3, large files': { semantics: 'S3', file, otherFile: other, ...failing },
  's3, a small file and a large one': { semantics: 'S3', file, otherFile: small, ...failing },
  's3, no condition at completion': {
    semantics: 'S3',
    file,
    otherFile: other,
    checksCompletion: false,
    ...failing,
  },
  's3, no condition at completion, a small file and a large one': {
    semantics: 'S3',
    file,
    otherFile: small,
    checksCompletion: false,
    ...failing,
  },
  's3, separate objects': { semantics: 'S3', file, otherFile: other, separate: true, ...failing },
  'azure, large files': { semantics: 'Azure', file, otherFile: other, ...failing },
  'azure, a small file and a large one': { semantics: 'Azure', file, otherFile: small, ...failing },
}

const seeds = Number(process.env.SEEDS ?? 5)
const firstSeed = Number(process.env.SEED ?? 1)

const run = (simulation: Simulation): Promise<SimulationResult> =>
  simulate(simulation).catch((error) => {
    throw new Error(`seed ${simulation.seed}: ${error.message}`, { cause: error })
  })

/** Ends the sessions, sweeps two days later, and expects no other objects and no uploads. */
async function expectNothingLeft(result: SimulationResult, keys: string[], seed: number): Promise<void> {
  const { bucket, service, sessions, store } = result
  for (const { id } of sessions) {
    const closed = await store.load(id)
    if (closed) await store.remove(closed)
  }
  expect(await listed(store)).toEqual([])
  vi.useFakeTimers({ now: Date.now() + 2 * day, toFake: ['Date'] })
  expect(await listed(store)).toEqual([])
  expect(await listed(store)).toEqual([])
  vi.useRealTimers()
  expect([...bucket.keys()], `seed ${seed}`).toEqual(keys)
  const uploads = []
  for await (const upload of service.listUploads('')) uploads.push(upload)
  expect(uploads, `seed ${seed}`).toEqual([])
}

describe('Object store on several nodes in a random order of requests', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each(Object.entries(variants))(
    '%s: publishes the file once, and leaves nothing',
    { timeout: 60_000 },
    async (_, variant) => {
      for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
        const result = await run({ ...variant, seed })
        expect(result.publications.length, `seed ${seed}`).toBe(1)
        expect(result.publications[0]?.equals(variant.file), `seed ${seed}`).toBe(true)
        await expectNothingLeft(result, variant.consumes ? [] : ['a.bin'], seed)
      }
    },
  )

  it.each(Object.entries(twoSessions))(
    'two sessions of one name, %s: publishes one of them, or with overwrite both, but never mixes them',
    { timeout: 60_000 },
    async (_, variant) => {
      for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
        for (const overwrite of [false, true]) {
          const step = `seed ${seed}, overwrite: ${overwrite}`
          const result = await run({ ...variant, overwrite, seed })
          const { publications, bucket, sessions } = result
          const published = [variant.file, variant.otherFile].filter((_file, i) => sessions[i]?.isPublished)
          if (overwrite) expect(published.length, step).toBe(2)
          else {
            expect(published.length, step).toBe(1)
            expect(publications.length, step).toBe(1)
          }
          for (const bytes of publications) {
            expect(
              published.some((complete) => complete?.equals(bytes)),
              step,
            ).toBe(true)
          }
          // The one that was published last is there.
          expect(publications.at(-1)?.equals(bucket.get('a.bin')?.bytes ?? Buffer.of()), step).toBe(true)
          await expectNothingLeft(result, ['a.bin'], seed)
        }
      }
    },
  )
})

import { bitsAzure, bitsS3, tusAzure, tusS3 } from '../candidates.ts'
import type { Candidate, Case } from '../case.ts'

export type ServiceName = 'Ceph' | 'Azurite'

/** A measurement over an object service: each connection sends a fixed number of files. */
export interface ObjectCase extends Pick<Case, 'name' | 'candidates' | 'uploads' | 'size' | 'fragment'> {
  readonly unit: 'MB/s' | 'files/s'
  readonly files: number
  readonly service: ServiceName
  /** Milliseconds that are added to each round trip between server and service. */
  readonly delay: number
  readonly warmUps: readonly WarmUp[]
}

/** Uploads of a server before the measurement: each of 8 connections sends this number of files. */
export interface WarmUp {
  readonly files: number
  readonly size: number
  readonly fragment: number
}

const KiB = 1024
const MiB = 1024 * KiB

const contestants: Record<ServiceName, readonly Candidate[]> = {
  Ceph: [bitsS3, tusS3],
  Azurite: [bitsAzure, tusAzure],
}

const smallFiles = { size: 64 * KiB, fragment: 64 * KiB }
const smallWarmUp: WarmUp = { ...smallFiles, files: 10 }
const largeWarmUp: WarmUp = { size: 10 * MiB, fragment: 5 * MiB, files: 1 }

interface Row extends Pick<ObjectCase, 'unit' | 'uploads' | 'files' | 'size' | 'fragment' | 'warmUps'> {
  readonly name: string
}

const rows: readonly Row[] = [
  {
    name: '8 x 32 MiB',
    unit: 'MB/s',
    uploads: 8,
    files: 1,
    size: 32 * MiB,
    fragment: 5 * MiB,
    warmUps: [smallWarmUp, largeWarmUp],
  },
  { name: '200 x 64 KiB', unit: 'files/s', uploads: 8, files: 25, ...smallFiles, warmUps: [smallWarmUp] },
  {
    name: '1 x 256 MiB',
    unit: 'MB/s',
    uploads: 1,
    files: 1,
    size: 256 * MiB,
    fragment: 5 * MiB,
    warmUps: [smallWarmUp, largeWarmUp],
  },
]

/** Checks only that the benchmark works. */
const quickRows: readonly Row[] = [
  { name: '2 x 6 MiB', unit: 'MB/s', uploads: 2, files: 1, size: 6 * MiB, fragment: 5 * MiB, warmUps: [] },
  { name: '8 x 64 KiB', unit: 'files/s', uploads: 8, files: 1, ...smallFiles, warmUps: [] },
]

export const objectCases = (isQuick: boolean): ObjectCase[] =>
  (['Ceph', 'Azurite'] as const).flatMap((service) =>
    [0, 20].flatMap((delay) =>
      (isQuick ? quickRows : rows).map((row) => ({
        ...row,
        name: `objects ${row.name}, ${service}, ${delay === 0 ? 'direct' : `${delay} ms`}`,
        candidates: contestants[service],
        service,
        delay,
      })),
    ),
  )

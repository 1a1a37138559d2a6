import {
  bare,
  beside,
  bits,
  bitsFragment,
  bitsNone,
  blocking,
  ceiling,
  discard,
  floor,
  multer,
  nginx,
  packets,
  pipeline,
  send,
  tus,
  tusClient,
} from './candidates.ts'
import type { Candidate, Case, Medium } from './case.ts'
import { nginx as nginxBinary } from './nginx.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** For cases whose medians differ by a third between two runs of the benchmark. */
const noisy = { roundsFactor: 2 }
/** For small requests: after the usual warm-up tus still becomes faster by a third. */
const slowToWarmUp = { warmUpFactor: 3 }

/** Bytes of the largest fragment of `send`. */
const LargestFragment = 13 * MiB

/** Fragments, and files large enough that Create-Session and Close-Session hardly count. */
const sizes = [
  { name: '4 KiB', fragment: 4 * KiB, size: MiB, more: slowToWarmUp },
  { name: '64 KiB', fragment: 64 * KiB, size: 16 * MiB, more: slowToWarmUp },
  { name: '1 MiB', fragment: MiB, size: 64 * MiB, more: noisy },
  { name: '5 MiB', fragment: 5 * MiB, size: 80 * MiB, more: noisy },
  { name: '64 MiB', fragment: 64 * MiB, size: 128 * MiB },
]
/** Names of the sizes in the quick run. */
const quickSizes = ['64 KiB', '1 MiB']
/** Compared on disk only, because on tmpfs there is nothing to sync. */
const durabilities = [bits, bitsNone, bitsFragment]

export function cases(isQuick: boolean): Case[] {
  const media: Medium[] = isQuick ? ['tmpfs'] : ['tmpfs', 'disk']
  return [
    ...media.flatMap((medium) => [
      ...fragments(medium, isQuick),
      ...smallFiles(medium, isQuick),
      largeFile(medium, isQuick),
    ]),
    ...media.flatMap((medium) => clients(medium, isQuick)),
    ...silent(isQuick),
    ...apps(isQuick),
  ]
}

function fragments(medium: Medium, isQuick: boolean): Case[] {
  const chosen = sizes.filter(({ name }) => !isQuick || quickSizes.includes(name))
  const counts = isQuick ? [8] : [1, 8]
  return chosen.flatMap(({ name, fragment, size, more }) =>
    counts.map((uploads) => ({
      name: `fragments ${name}, ${uploads} at once, ${medium}`,
      medium,
      candidates: receivers(medium, isQuick, uploads),
      uploads,
      size,
      fragment,
      unit: 'MB/s' as const,
      ...(!isQuick && medium === 'tmpfs' && uploads > 1 && more),
    })),
  )
}

function receivers(medium: Medium, isQuick: boolean, uploads: number): Candidate[] {
  if (medium === 'disk') return [...durabilities, pipeline, ...(uploads > 1 ? [ceiling, tus] : [])]
  return [bits, pipeline, ceiling, tus, ...(isQuick ? [] : [discard])]
}

/** Files of one fragment: Create-Session, Fragment, Close-Session. */
function smallFiles(medium: Medium, isQuick: boolean): Case[] {
  const more = !isQuick && medium === 'tmpfs' ? { ...noisy, ...slowToWarmUp } : {}
  const file = (name: string, size: number, candidates: Candidate[]): Case => ({
    name: `whole files of ${name}, 8 at once, ${medium}`,
    medium,
    candidates,
    uploads: 8,
    size,
    fragment: size,
    unit: 'files/s',
    ...more,
  })
  if (medium === 'disk') {
    return [file('1 KiB', KiB, [...durabilities, tus, multer, floor, pipeline])]
  }
  const compared = [bits, tus, multer, floor]
  return [
    file('1 KiB', KiB, [...compared, ...(isQuick ? [] : [blocking, packets, pipeline])]),
    file('64 KiB', 64 * KiB, compared),
  ]
}

function largeFile(medium: Medium, isQuick: boolean): Case {
  const candidates = [
    ...(medium === 'disk' ? [bits, bitsNone] : [bits]),
    ...(nginxBinary ? [nginx] : []),
    ceiling,
    ...(medium === 'disk' || isQuick ? [] : [discard]),
  ]
  const size = 1024 * MiB
  const name = `one file of 1 GiB, ${medium}`
  return { name, medium, candidates, uploads: 1, size, fragment: size, unit: 'MB/s', files: 1 }
}

/** Whole commands: the processes of two clients, each with its server. */
function clients(medium: Medium, isQuick: boolean): Case[] {
  const common = {
    medium,
    candidates: [send, tusClient],
    uploads: 1,
    fragment: LargestFragment,
    ...(!isQuick && noisy),
  }
  return [
    {
      ...common,
      name: `client: one file of 1 GiB, ${medium}`,
      size: 1024 * MiB,
      files: 1,
      unit: 'MB/s',
    },
    {
      ...common,
      name: `client: 2000 files of 4 KiB, ${medium}`,
      size: 4 * KiB,
      files: 2000,
      unit: 'files/s',
    },
  ]
}

const silent = (isQuick: boolean): Case[] =>
  (isQuick ? [500] : [2000, 5000]).map((uploads) => ({
    name: `${uploads} silent uploads`,
    medium: 'tmpfs',
    candidates: isQuick ? [bits, discard] : [bits, tus, discard, ceiling],
    uploads,
    size: 64 * MiB,
    fragment: MiB,
    unit: 'bytes/upload',
  }))

const apps = (isQuick: boolean): Case[] => [
  {
    name: 'GET / beside uploads',
    medium: 'tmpfs',
    candidates: [...beside('get'), ...(isQuick ? [] : [bare])],
    uploads: 8,
    size: 100,
    fragment: 100,
    unit: 'requests/s',
    ...(!isQuick && { roundsFactor: 4 }),
  },
  {
    name: 'POST of 64 KiB beside uploads',
    medium: 'tmpfs',
    candidates: beside('post'),
    uploads: 8,
    size: MiB,
    fragment: 64 * KiB,
    unit: 'MB/s',
    ...(!isQuick && { roundsFactor: 2 }),
  },
]

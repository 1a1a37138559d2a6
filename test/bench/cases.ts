import type { Case, Contestant, Place } from './case.ts'
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
  tus,
} from './contestants.ts'
import { nginx as nginxBinary } from './nginx.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** Those whose medians of the usual rounds differ by a third from one run to the next have twice as many. */
const noisy = { times: 2 }
/** Where requests are small, and servers have much code: behind the usual warm-up tus still becomes faster by a third. */
const slowlyWarm = { warmUps: 3 }

/** Fragments, and files of them: large enough that beginning and end of a file count little. */
const sizes = [
  { name: '4 KiB', fragment: 4 * KiB, size: MiB, more: slowlyWarm },
  { name: '64 KiB', fragment: 64 * KiB, size: 16 * MiB, more: slowlyWarm },
  { name: '1 MiB', fragment: MiB, size: 64 * MiB, more: noisy },
  { name: '5 MiB', fragment: 5 * MiB, size: 80 * MiB, more: noisy },
  { name: '64 MiB', fragment: 64 * MiB, size: 128 * MiB },
]
/** Those of the quick run. */
const quickSizes = ['64 KiB', '1 MiB']
/** Durability is measured where there is a disk: memory has nothing to sync. */
const durabilities = [bits, bitsNone, bitsFragment]

export function cases(isQuick: boolean): Case[] {
  const places: Place[] = isQuick ? ['tmpfs'] : ['tmpfs', 'disk']
  return [
    ...places.flatMap((place) => [
      ...fragments(place, isQuick),
      small(place, isQuick),
      large(place, isQuick),
    ]),
    ...silent(isQuick),
    ...apps(isQuick),
  ]
}

function fragments(place: Place, isQuick: boolean): Case[] {
  const chosen = sizes.filter(({ name }) => !isQuick || quickSizes.includes(name))
  const counts = isQuick ? [8] : [1, 8]
  return chosen.flatMap(({ name, fragment, size, more }) =>
    counts.map((uploads) => ({
      name: `fragments ${name}, ${uploads} at once, ${place}`,
      place,
      contestants: receivers(place, isQuick, uploads),
      uploads,
      size,
      fragment,
      unit: 'MB/s' as const,
      ...(!isQuick && place === 'tmpfs' && uploads > 1 && more),
    })),
  )
}

function receivers(place: Place, isQuick: boolean, uploads: number): Contestant[] {
  if (place === 'disk') return [...durabilities, pipeline, ...(uploads > 1 ? [ceiling, tus] : [])]
  return [bits, pipeline, ceiling, tus, ...(isQuick ? [] : [discard])]
}

/** Create-Session, Fragment, Close-Session. */
function small(place: Place, isQuick: boolean): Case {
  const contestants = {
    quick: [bits, tus, multer, floor],
    tmpfs: [bits, tus, multer, floor, blocking, packets, pipeline],
    disk: [...durabilities, tus, multer, floor, pipeline],
  }[isQuick ? 'quick' : place]
  const name = `whole files of 1 KiB, 8 at once, ${place}`
  const more = !isQuick && place === 'tmpfs' ? { ...noisy, ...slowlyWarm } : {}
  return { name, place, contestants, uploads: 8, size: KiB, fragment: KiB, unit: 'files/s', ...more }
}

function large(place: Place, isQuick: boolean): Case {
  const contestants = [
    ...(place === 'disk' ? [bits, bitsNone] : [bits]),
    ...(nginxBinary ? [nginx] : []),
    ceiling,
    ...(place === 'disk' || isQuick ? [] : [discard]),
  ]
  const size = 1024 * MiB
  const name = `one file of 1 GiB, ${place}`
  return { name, place, contestants, uploads: 1, size, fragment: size, unit: 'MB/s', files: 1 }
}

const silent = (isQuick: boolean): Case[] =>
  (isQuick ? [500] : [2000, 5000]).map((uploads) => ({
    name: `${uploads} silent uploads`,
    place: 'tmpfs',
    contestants: isQuick ? [bits, discard] : [bits, tus, discard, ceiling],
    uploads,
    size: 64 * MiB,
    fragment: MiB,
    unit: 'bytes/upload',
  }))

const apps = (isQuick: boolean): Case[] => [
  {
    name: 'GET / beside uploads',
    place: 'tmpfs',
    contestants: [...beside('get'), ...(isQuick ? [] : [bare])],
    uploads: 8,
    size: 100,
    fragment: 100,
    unit: 'requests/s',
    ...(!isQuick && { times: 4 }),
  },
  {
    name: 'POST of 64 KiB beside uploads',
    place: 'tmpfs',
    contestants: beside('post'),
    uploads: 8,
    size: MiB,
    fragment: 64 * KiB,
    unit: 'MB/s',
    ...(!isQuick && { times: 2 }),
  },
]

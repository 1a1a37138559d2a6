import { statSync } from 'node:fs'
import type { Random } from './random.ts'

/** What a client has just done, or learned; 'removing' ends a session that still holds bytes. */
export type Moment = 'creating' | 'sending' | 'last' | 'ack' | 'final' | 'ending' | 'removing'

/** What is seen of a session from outside. */
export interface Paths {
  readonly record: string
  readonly part: string
  /** A second name of the part, while it replaces a file. */
  readonly spare: string
  readonly file: string
}

/** At which instant a server is to be killed. */
export interface Aim {
  readonly moment: Moment | 'any'
  /** How many such moments are to pass before. */
  readonly count: number
  /** Which of the session's files is watched from the moment on: the kill comes as soon as it changes. */
  readonly target: keyof Paths | undefined
  /** And so many milliseconds later. */
  readonly later: number
}

/** Most of them at the few instants at which a session changes hands: they are short, and chance would miss them. */
const aims: readonly [Pick<Aim, 'moment' | 'target'>, ...Pick<Aim, 'moment' | 'target'>[]] = [
  { moment: 'any', target: undefined },
  { moment: 'any', target: undefined },
  { moment: 'creating', target: undefined },
  { moment: 'sending', target: undefined },
  { moment: 'sending', target: 'part' },
  { moment: 'sending', target: 'record' },
  { moment: 'ack', target: undefined },
  { moment: 'last', target: undefined },
  { moment: 'last', target: 'record' },
  { moment: 'last', target: 'part' },
  { moment: 'last', target: 'spare' },
  { moment: 'last', target: 'file' },
  { moment: 'final', target: undefined },
  { moment: 'ending', target: undefined },
  { moment: 'removing', target: 'part' },
  { moment: 'removing', target: 'record' },
]

export function takeAim(random: Random): Aim {
  const { moment, target } = random.pick(aims)
  const common = moment === 'any' || moment === 'sending' || moment === 'ack'
  const count = 1 + random.below(common ? 30 : 2)
  // A packet is worked on for about a millisecond, each of its steps for some hundredths of one.
  if (target) return { moment, count, target, later: random.chance(0.5) ? 0 : random.next() * 0.3 }
  const atOnce = moment === 'ack' || moment === 'final' || random.chance(0.1)
  return { moment, count, target, later: atOnce ? 0 : random.next() ** 2 * 3 }
}

/** What would change when the session does. */
export function sight({ record, part, spare, file }: Paths): Readonly<Record<keyof Paths, string>> {
  return { record: stamp(record), part: stamp(part), spare: stamp(spare), file: stamp(file) }
}

/** Blocks until the instant has come: an event loop would come back to it too late. Gives up where nothing changes. */
export function holdBreath({ target, later }: Aim, paths: Paths, before: ReturnType<typeof sight>): void {
  const patience = performance.now() + 15
  while (target && stamp(paths[target]) === before[target] && performance.now() < patience);
  const instant = performance.now() + later
  while (performance.now() < instant);
}

function stamp(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? `${stat.ino} ${stat.size}` : ''
}

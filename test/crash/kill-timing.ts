import { statSync } from 'node:fs'
import type { Random } from './random.ts'

/**
 * What a client has just sent or received. `last` is the last fragment, `final` its Ack. `ending` is
 * Close-Session or Cancel-Session, `removing` the same for a session that still has a part file.
 */
export type Step = 'creating' | 'sending' | 'last' | 'ack' | 'final' | 'ending' | 'removing'

/** The files of a session. */
export interface SessionPaths {
  readonly journal: string
  readonly part: string
  /** A second hard link of the part file, while it replaces a file. */
  readonly replacement: string
  /** The published file. */
  readonly file: string
}

/** When to kill a server. */
export interface KillTiming {
  readonly step: Step | 'any'
  /** The kill comes after this many such steps. */
  readonly count: number
  /** A file of the session: the kill waits until it changes. */
  readonly watched: keyof SessionPaths | undefined
  /** The kill comes this many milliseconds later. */
  readonly delayMs: number
}

type StepAndFile = Pick<KillTiming, 'step' | 'watched'>

/** Most of these are the short moments at which a session changes its state: random times would miss them. */
const choices: readonly [StepAndFile, ...StepAndFile[]] = [
  { step: 'any', watched: undefined },
  { step: 'any', watched: undefined },
  { step: 'creating', watched: undefined },
  { step: 'sending', watched: undefined },
  { step: 'sending', watched: 'part' },
  { step: 'sending', watched: 'journal' },
  { step: 'ack', watched: undefined },
  { step: 'last', watched: undefined },
  { step: 'last', watched: 'journal' },
  { step: 'last', watched: 'part' },
  { step: 'last', watched: 'replacement' },
  { step: 'last', watched: 'file' },
  { step: 'final', watched: undefined },
  { step: 'ending', watched: undefined },
  { step: 'removing', watched: 'part' },
  { step: 'removing', watched: 'journal' },
]

export function chooseTiming(random: Random): KillTiming {
  const { step, watched } = random.pick(choices)
  const isFrequent = step === 'any' || step === 'sending' || step === 'ack'
  const count = 1 + random.below(isFrequent ? 30 : 2)
  // The server handles a packet in about 1 ms, and each step of it in some 0.01 ms.
  if (watched) return { step, count, watched, delayMs: random.chance(0.5) ? 0 : random.next() * 0.3 }
  const isImmediate = step === 'ack' || step === 'final' || random.chance(0.1)
  return { step, count, watched, delayMs: isImmediate ? 0 : random.next() ** 2 * 3 }
}

/** The state of each file of a session, as text that differs after a change. */
export type FileStates = Readonly<Record<keyof SessionPaths, string>>

export const fileStates = ({ journal, part, replacement, file }: SessionPaths): FileStates => ({
  journal: stateOf(journal),
  part: stateOf(part),
  replacement: stateOf(replacement),
  file: stateOf(file),
})

/** How long to wait for a change of the watched file. */
const MaxWaitMs = 15

/** Blocks the thread until the time of the kill, because a timer of the event loop would fire too late. */
export function waitForKillTime(
  { watched, delayMs }: KillTiming,
  paths: SessionPaths,
  before: FileStates,
): void {
  const deadline = performance.now() + MaxWaitMs
  while (watched && stateOf(paths[watched]) === before[watched] && performance.now() < deadline);
  const killTime = performance.now() + delayMs
  while (performance.now() < killTime);
}

function stateOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats ? `${stats.ino} ${stats.size}` : ''
}

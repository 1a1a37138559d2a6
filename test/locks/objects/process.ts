import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Timing } from '../../../lib/locks/objects/timing.ts'
import type { Place } from './places.ts'

const program = fileURLToPath(new URL('holder.ts', import.meta.url))

/** Another process, which holds a lock. */
export interface HolderProcess {
  /** Resolves when it has said so, or did before. */
  says(message: 'wanted' | 'released'): Promise<void>
  tell(message: 'release' | 'end'): void
  signal(signal: NodeJS.Signals): void
  /** Its exit code; null if a signal killed it. */
  readonly ended: Promise<number | null>
}

export async function holderProcess(place: Place, timing: Timing, name: string): Promise<HolderProcess> {
  const args = [JSON.stringify(place), JSON.stringify(timing), name]
  const child: ChildProcess = fork(program, args, { execArgv: ['--import', 'tsx'] })
  const said = new Set<unknown>()
  child.on('message', (message) => said.add(message))
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const says = async (message: string): Promise<void> => {
    while (!said.has(message)) {
      if ((await Promise.race([once(child, 'message'), ended.then(() => true)])) === true) {
        throw new Error(`The process ended and did not say ${message}`)
      }
    }
  }
  await says('held')
  return {
    says,
    tell: (message) => void child.send(message),
    signal: (signal) => void child.kill(signal),
    ended,
  }
}

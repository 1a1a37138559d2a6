import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Timing } from '../../../../lib/stores/object/lock/heartbeat.ts'
import type { Place } from '../../../support/places.ts'

const program = fileURLToPath(new URL('holder.ts', import.meta.url))

/** A child process that holds a lock. */
export interface HolderProcess {
  /** Resolves when the process has sent the message, or if it did before. */
  received(message: 'requested' | 'released'): Promise<void>
  send(message: 'release' | 'end'): void
  signal(signal: NodeJS.Signals): void
  /** Its exit code; null if a signal killed it. */
  readonly ended: Promise<number | null>
}

export async function holderProcess(place: Place, timing: Timing, name: string): Promise<HolderProcess> {
  const child: ChildProcess = fork(program, [JSON.stringify(timing), name], {
    env: { ...process.env, ...place.env },
    execArgv: ['--import', 'tsx'],
  })
  const messages = new Set<unknown>()
  child.on('message', (message) => messages.add(message))
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const received = async (message: string): Promise<void> => {
    while (!messages.has(message)) {
      if ((await Promise.race([once(child, 'message'), ended.then(() => true)])) === true) {
        throw new Error(`The process ended without the message ${message}`)
      }
    }
  }
  await received('held')
  return {
    received,
    send: (message) => void child.send(message),
    signal: (signal) => void child.kill(signal),
    ended,
  }
}

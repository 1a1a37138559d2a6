import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Job, LoadMessage, Measurement, SentFile } from './load/job.ts'
import { end, processorTime, start } from './process.ts'
import type { Server } from './server.ts'

export interface JobResult {
  /** Undefined after a job without a measurement. */
  readonly measurement: Measurement | undefined
  readonly sent: readonly SentFile[]
  /** Seconds of the server's processor time during the measurement. */
  readonly cpu: number
}

const program = fileURLToPath(new URL('./load/main.ts', import.meta.url))

/**
 * The process that sends requests, on a core of its own. It runs one job after another, because the speed of
 * a process whose code is already compiled varies less.
 */
export class LoadClient {
  readonly #child = start(1, [process.execPath, ...process.execArgv, program])
  readonly #exit = once(this.#child, 'exit')

  /** Runs a job, and reads the server's processor time when the measurement begins and when it ends. */
  async run(server: Server, job: Job): Promise<JobResult> {
    let cpuAtBegin = 0
    let cpu = 0
    let measurement: Measurement | undefined
    let listener: ((message: LoadMessage) => void) | undefined
    const done = new Promise<readonly SentFile[]>((resolve, reject) => {
      listener = (message) => {
        if (message.type === 'begin') cpuAtBegin = processorTime(server.pid)
        else if (message.type === 'end') {
          cpu = processorTime(server.pid) - cpuAtBegin
          measurement = message
        } else if (message.type === 'failed') reject(new Error(`The load client failed: ${message.reason}`))
        else resolve(message.type === 'done' ? message.sent : [])
      }
      this.#child.on('message', listener)
      void this.#exit.then(() => reject(new Error('The load client exited')))
    })
    try {
      this.#child.send(job)
      const sent = await done
      return { measurement, sent, cpu }
    } finally {
      if (listener) this.#child.off('message', listener)
    }
  }

  end(): Promise<void> {
    return end(this.#child)
  }
}

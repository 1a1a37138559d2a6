import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Job, Pressed, Sent, Word } from './load/job.ts'
import { end, processorTime, start } from './process.ts'
import type { Server } from './server.ts'

/** What came of a job. */
export interface Performance {
  /** Undefined where nothing was to be measured. */
  readonly pressed: Pressed | undefined
  readonly sent: readonly Sent[]
  /** Seconds of the server's processor time while it was measured. */
  readonly cpu: number
}

const program = fileURLToPath(new URL('./load/main.ts', import.meta.url))

/** The load client, a process on a core of its own. It does one job after the other: warm, it is the steadier measure. */
export class LoadClient {
  readonly #child = start(1, [process.execPath, ...process.execArgv, program])
  readonly #gone = once(this.#child, 'exit')

  /** Has the client do a job, and looks at the server when measuring begins and when it ends. */
  async perform(server: Server, job: Job): Promise<Performance> {
    let began = 0
    let cpu = 0
    let pressed: Pressed | undefined
    let listener: ((word: Word) => void) | undefined
    const done = new Promise<readonly Sent[]>((resolve, reject) => {
      listener = (word) => {
        if (word.type === 'begin') began = processorTime(server.pid)
        else if (word.type === 'end') {
          cpu = processorTime(server.pid) - began
          pressed = word
        } else if (word.type === 'failed') reject(new Error(`The load client failed: ${word.reason}`))
        else resolve(word.type === 'done' ? word.sent : [])
      }
      this.#child.on('message', listener)
      void this.#gone.then(() => reject(new Error('The load client ended')))
    })
    try {
      this.#child.send(job)
      const sent = await done
      return { pressed, sent, cpu }
    } finally {
      if (listener) this.#child.off('message', listener)
    }
  }

  end(): Promise<void> {
    return end(this.#child)
  }
}

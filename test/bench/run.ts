import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Case, Contestant } from './case.ts'
import { checkFiles } from './check.ts'
import type { Job, Pressed, Word } from './load/job.ts'
import { end, memory, processorTime, start } from './process.ts'
import { type Server, type ServerOptions, startServer } from './server.ts'

/** What one run of one contestant showed. */
export interface Seen {
  /** In the case's unit. */
  readonly value: number
  /** Seconds of the server's processor time for each GB, or for each 1000 files or requests. */
  readonly cpu?: number
  /** Peak of the server's resident memory, in bytes. */
  readonly peak: number
  /** The client's share of its core: near 1 it is the client that was measured. */
  readonly client?: number
}

export interface RunOptions extends ServerOptions {
  /** Milliseconds. */
  readonly warmUp: number
  readonly time: number
}

/** Bytes of its fragment that a silent upload has sent. */
const HeldBytes = 1024
/** Silent uploads that are there before measuring begins, as a share of those that are measured. */
const HeldBefore = 0.1
const client = fileURLToPath(new URL('./load/main.ts', import.meta.url))

/** A fresh server, a fresh client, one job. */
export async function run(
  wanted: Case,
  contestant: Contestant,
  directory: string,
  options: RunOptions,
): Promise<Seen> {
  // Both at once: to begin takes each of them longer than a quick measurement.
  const load = start(1, [process.execPath, ...process.execArgv, client])
  const server = await startServer(contestant, directory, options).catch(async (error) => {
    await end(load)
    throw error
  })
  try {
    const { dialect } = contestant
    const { uploads, size, fragment, files } = wanted
    const work = { port: server.port, dialect, uploads, size, fragment }
    if (wanted.unit === 'bytes/upload') {
      // What the first of them cost is the server's own: compiled code, a heap that has grown.
      const first = uploads * HeldBefore
      const hold = { ...work, kind: 'hold', sent: HeldBytes } as const
      await perform(load, server, { ...hold, from: 0, uploads: first })
      const before = await atRest(server)
      await perform(load, server, { ...hold, from: first })
      return { value: ((await atRest(server)) - before) / uploads, peak: memory(server.pid).peak }
    }
    const { warmUp, time } = options
    const measure = files === undefined ? { time } : { files }
    const { pressed, sent, cpu } = await perform(load, server, { ...work, kind: 'press', warmUp, measure })
    const { peak } = memory(server.pid)
    if (!pressed) throw new Error('Nothing was measured')
    if (contestant.keeps) await checkFiles(directory, sent)
    const count = amount(wanted, pressed)
    return {
      value: count / pressed.seconds,
      cpu: (cpu / count) * 1000,
      peak,
      client: pressed.cpu / pressed.seconds,
    }
  } finally {
    await end(load)
    await server.stop()
  }
}

/** MB, files or requests. */
function amount({ unit }: Case, { bytes, files, requests }: Pressed): number {
  if (unit === 'MB/s') return bytes / 1e6
  return unit === 'files/s' ? files : requests
}

interface Performance {
  readonly pressed: Pressed | undefined
  readonly sent: readonly { name: string; size: number; salt: number }[]
  readonly cpu: number
}

/** Has the client do a job, and looks at the server when measuring begins and when it ends. */
function perform(load: ChildProcess, server: Server, job: Job): Promise<Performance> {
  let began = 0
  let cpu = 0
  let pressed: Pressed | undefined
  const result = new Promise<Performance>((resolve, reject) => {
    load.on('message', (word: Word) => {
      if (word.type === 'begin') began = processorTime(server.pid)
      else if (word.type === 'end') {
        cpu = processorTime(server.pid) - began
        pressed = word
      } else if (word.type === 'failed') reject(new Error(`The load client failed: ${word.reason}`))
      else resolve({ pressed, sent: word.type === 'done' ? word.sent : [], cpu })
    })
    void once(load, 'exit').then(() => reject(new Error('The load client ended')))
  })
  load.send(job)
  return result
}

/** The server's memory, garbage collected, when it has nothing to do any more. */
async function atRest(server: Server): Promise<number> {
  let before = -1
  for (let now = processorTime(server.pid); now - before > 0.002; now = processorTime(server.pid)) {
    before = now
    await delay(200)
  }
  await server.collect()
  return memory(server.pid).now
}

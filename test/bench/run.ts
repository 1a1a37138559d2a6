import { setTimeout as delay } from 'node:timers/promises'
import type { Case, Contestant } from './case.ts'
import { checkFiles } from './check.ts'
import type { LoadClient } from './load-client.ts'
import { memory, processorTime } from './process.ts'
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

/** What is counted for a unit, and how many of it are one. */
const units = {
  'MB/s': { counted: 'bytes', each: 1e6 },
  'files/s': { counted: 'files', each: 1 },
  'requests/s': { counted: 'requests', each: 1 },
} as const

/** A fresh server, one job. */
export async function run(
  load: LoadClient,
  wanted: Case,
  contestant: Contestant,
  directory: string,
  options: RunOptions,
): Promise<Seen> {
  const server = await startServer(contestant, directory, options)
  try {
    const { unit } = wanted
    if (unit === 'bytes/upload') return await hold(load, server, wanted, contestant)
    return await press(load, server, { ...wanted, unit }, contestant, directory, options)
  } finally {
    await server.stop()
  }
}

/** What uploads cost that are there, and silent. The client keeps them as long as it lives. */
async function hold(
  load: LoadClient,
  server: Server,
  { uploads, size, fragment }: Case,
  { dialect }: Contestant,
): Promise<Seen> {
  // What the first of them cost is the server's own: compiled code, a heap that has grown.
  const first = uploads * HeldBefore
  const job = { kind: 'hold', port: server.port, dialect, size, fragment, sent: HeldBytes } as const
  await load.perform(server, { ...job, from: 0, uploads: first })
  const before = await atRest(server)
  await load.perform(server, { ...job, from: first, uploads })
  return { value: ((await atRest(server)) - before) / uploads, peak: memory(server.pid).peak }
}

async function press(
  load: LoadClient,
  server: Server,
  { uploads, size, fragment, files, unit, warmUps = 1 }: Case & { readonly unit: keyof typeof units },
  { dialect, keeps }: Contestant,
  directory: string,
  { warmUp, time }: RunOptions,
): Promise<Seen> {
  const { counted, each } = units[unit]
  const { pressed, sent, cpu } = await load.perform(server, {
    kind: 'press',
    port: server.port,
    dialect,
    uploads,
    size,
    fragment,
    counted,
    warmUp: warmUps * warmUp,
    measure: files === undefined ? { time } : { files },
  })
  const { peak } = memory(server.pid)
  if (!pressed) throw new Error('Nothing was measured')
  if (keeps) await checkFiles(directory, sent)
  const count = pressed[counted] / each
  return {
    value: count / pressed.seconds,
    cpu: (cpu / count) * 1000,
    peak,
    client: pressed.cpu / pressed.seconds,
  }
}

/** The server's memory, garbage collected, when it has nothing to do any more. */
async function atRest(server: Server): Promise<number> {
  let before = -1
  for (let now = processorTime(server.pid); now - before > 0.001; now = processorTime(server.pid)) {
    before = now
    await delay(100)
  }
  await server.collect()
  return memory(server.pid).now
}

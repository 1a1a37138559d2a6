import { setTimeout as delay } from 'node:timers/promises'
import type { Candidate, Case } from './case.ts'
import { checkFiles } from './check.ts'
import type { LoadClient } from './load-client.ts'
import { memory, processorTime } from './process.ts'
import { type Server, type ServerOptions, startServer } from './server.ts'

/** The result of one run of one candidate. */
export interface RunResult {
  /** In the case's unit. */
  readonly value: number
  /** Seconds of the server's processor time for each GB, or for each 1000 files or requests. */
  readonly cpu?: number
  /** Peak of the server's resident memory, in bytes. */
  readonly peak: number
  /** The share of its core that the client used. Near 1 the client was the bottleneck, not the server. */
  readonly client?: number
}

export interface RunOptions extends ServerOptions {
  /** Milliseconds. */
  readonly warmUp: number
  readonly time: number
}

/** Bytes of its fragment that a silent upload has sent. */
const SentBytes = 1024
/** Silent uploads that exist before the measurement begins, as a share of those that are measured. */
const WarmUpShare = 0.1

/** Which counter of the client belongs to a unit, and how much of it is one unit. */
const units = {
  'MB/s': { counter: 'bytes', perUnit: 1e6 },
  'files/s': { counter: 'files', perUnit: 1 },
  'requests/s': { counter: 'requests', perUnit: 1 },
} as const

/** Runs a case once, on a new server. */
export async function run(
  client: LoadClient,
  wanted: Case,
  candidate: Candidate,
  directory: string,
  options: RunOptions,
): Promise<RunResult> {
  const server = await startServer(candidate, directory, options)
  try {
    const { unit } = wanted
    if (unit === 'bytes/upload') return await measureMemory(client, server, wanted, candidate)
    return await measureThroughput(client, server, { ...wanted, unit }, candidate, directory, options)
  } finally {
    await server.stop()
  }
}

/** Measures the memory of silent uploads. The client keeps them open until it ends. */
async function measureMemory(
  client: LoadClient,
  server: Server,
  { uploads, size, fragment }: Case,
  { protocol }: Candidate,
): Promise<RunResult> {
  // The first uploads also cost what the server needs only once: compiled code and a larger heap.
  const first = uploads * WarmUpShare
  const job = { kind: 'silent', port: server.port, protocol, size, fragment, sentBytes: SentBytes } as const
  await client.run(server, { ...job, from: 0, uploads: first })
  const before = await memoryAtRest(server)
  await client.run(server, { ...job, from: first, uploads })
  return { value: ((await memoryAtRest(server)) - before) / uploads, peak: memory(server.pid).peak }
}

async function measureThroughput(
  client: LoadClient,
  server: Server,
  { uploads, size, fragment, files, unit, warmUpFactor = 1 }: Case & { readonly unit: keyof typeof units },
  { protocol, storesFiles }: Candidate,
  directory: string,
  { warmUp, time }: RunOptions,
): Promise<RunResult> {
  const { counter, perUnit } = units[unit]
  const { measurement, sent, cpu } = await client.run(server, {
    kind: 'throughput',
    port: server.port,
    protocol,
    uploads,
    size,
    fragment,
    counter,
    warmUp: warmUpFactor * warmUp,
    measure: files === undefined ? { time } : { files },
  })
  const { peak } = memory(server.pid)
  if (!measurement) throw new Error('The load client reported no measurement')
  if (storesFiles) await checkFiles(directory, sent)
  const count = measurement[counter] / perUnit
  return {
    value: count / measurement.seconds,
    cpu: (cpu / count) * 1000,
    peak,
    client: measurement.cpu / measurement.seconds,
  }
}

/** @returns the server's resident memory when it is idle and has collected its garbage */
async function memoryAtRest(server: Server): Promise<number> {
  let before = -1
  for (let now = processorTime(server.pid); now - before > 0.001; now = processorTime(server.pid)) {
    before = now
    await delay(100)
  }
  await server.collectGarbage()
  return memory(server.pid).now
}

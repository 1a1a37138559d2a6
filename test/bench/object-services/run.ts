import { setTimeout as delay } from 'node:timers/promises'
import type { Candidate } from '../case.ts'
import type { SentFile } from '../load/job.ts'
import type { JobResult, LoadClient } from '../load-client.ts'
import { memory, processorTime } from '../process.ts'
import type { RunResult } from '../run.ts'
import { type Server, type ServerOptions, startServer } from '../server.ts'
import { type Bucket, openBucket } from './bucket.ts'
import type { ObjectCase } from './cases.ts'
import { checkObjects } from './check.ts'
import type { RequestCounts } from './counting-proxy.ts'
import { Helper } from './helper.ts'

/** A server, and what it runs with. All of it is new for each run, so that every run has the same conditions. */
interface Setting {
  readonly client: LoadClient
  readonly wanted: ObjectCase
  readonly server: Server
  readonly protocol: Candidate['protocol']
  readonly bucket: Bucket
}

const units = {
  'MB/s': { counter: 'bytes', perUnit: 1e6 },
  'files/s': { counter: 'files', perUnit: 1 },
} as const

const WarmUpConnections = 8
/** The processor time of an idle server in one poll interval is below this. */
const IdleSeconds = 0.002
const PollIntervalMs = 100
const MaxLeftNames = 3
const MaxIdleWaitMs = 2000
/** After this time without a request a server has completed the work that it does after a response. */
const QuietMs = 500

/** Measures the speed and the resources of one candidate. */
export async function measureObjects(
  client: LoadClient,
  wanted: ObjectCase,
  candidate: Candidate,
  options: ServerOptions,
): Promise<RunResult> {
  const relay = wanted.delay > 0 ? { program: 'delay-relay', args: [wanted.delay] } : undefined
  return withServer(client, wanted, candidate, options, relay, async (setting, helper) => {
    const { server, bucket } = setting
    await warmUp(setting)
    await idle(server.pid)
    const { measurement, sent, cpu } = await upload(setting)
    if (!measurement) throw new Error('The load client reported no measurement')
    const atEnd = processorTime(server.pid)
    await idle(server.pid)
    const allCpu = cpu + processorTime(server.pid) - atEnd
    const { peak } = memory(server.pid)
    await checkObjects(bucket, sent, wanted.fragment)
    if ((await helper?.request('read')) === 0) throw new Error('The server did not connect to the relay')
    const { counter, perUnit } = units[wanted.unit]
    const count = measurement[counter] / perUnit
    return {
      value: count / measurement.seconds,
      cpu: (allCpu / count) * 1000,
      peak,
      client: measurement.cpu / measurement.seconds,
    }
  })
}

export interface CountResult {
  /** Requests to the service for each upload: all, and by kind. */
  readonly requests: number
  readonly requestKinds: RequestCounts
  /**
   * The number of objects that are left after all uploads, also those of the warm-up, and after the server has
   * ended: without the files, but with unfinished uploads by parts. Some of their names.
   */
  readonly left: number
  readonly leftNames: readonly string[]
}

/** Counts the requests of one candidate to the service, and the objects that it leaves. */
export async function countRequests(
  client: LoadClient,
  wanted: ObjectCase,
  candidate: Candidate,
  options: ServerOptions,
): Promise<CountResult> {
  const proxy = { program: 'counting-proxy', args: [] }
  return withServer(client, wanted, candidate, options, proxy, async (setting, helper) => {
    const { server, bucket } = setting
    const read = async (): Promise<RequestCounts> => (await helper?.request('read')) as RequestCounts
    await warmUp(setting)
    const before = wanted.warmUps.length > 0 ? await quiet(read) : await read()
    const { sent } = await upload(setting)
    const after = await quiet(read)
    await checkObjects(bucket, sent, wanted.fragment)
    await server.stop()
    const perUpload = Object.entries(after)
      .map(([kind, count]) => [kind, (count - (before[kind] ?? 0)) / sent.length] as const)
      .filter(([, count]) => count > 0)
    const others = [...(await bucket.list()).keys()].filter((name) => !isFile(name))
    const left = [...others, ...(await bucket.listUnfinished())]
    return {
      requests: perUpload.reduce((sum, [, count]) => sum + count, 0),
      requestKinds: Object.fromEntries(perUpload.sort(([, a], [, b]) => b - a)),
      left: left.length,
      leftNames: left.slice(0, MaxLeftNames),
    }
  })
}

/** Names of the files of the load client, of all jobs. */
const isFile = (name: string): boolean => /^(?:warm\d-)?f\d+-\d+$/.test(name)

/** @param between a program of this directory that all connections between server and service pass */
async function withServer<Result>(
  client: LoadClient,
  wanted: ObjectCase,
  candidate: Candidate,
  options: ServerOptions,
  between: { readonly program: string; readonly args: readonly number[] } | undefined,
  use: (setting: Setting, between: Helper | undefined) => Promise<Result>,
): Promise<Result> {
  if (candidate.server === 'nginx') throw new Error('nginx does not store objects')
  const service = await Helper.start('service-process', wanted.service)
  let helper: Helper | undefined
  let server: Server | undefined
  try {
    const name = 'benchmark'
    const bucket = openBucket(wanted.service, service.ready, name)
    await bucket.create()
    let access = JSON.stringify(service.ready)
    if (between) {
      const [address = '', port = ''] = /127\.0\.0\.1:(\d+)/.exec(access) ?? []
      helper = await Helper.start(between.program, port, ...between.args)
      access = access.replace(address, `127.0.0.1:${helper.ready}`)
    }
    const program = { program: candidate.server.program, args: [access] }
    server = await startServer({ ...candidate, server: program }, name, options)
    return await use({ client, wanted, server, protocol: candidate.protocol, bucket }, helper)
  } finally {
    await server?.stop()
    await helper?.end()
    await service.end()
  }
}

async function warmUp({ client, wanted, server, protocol }: Setting): Promise<void> {
  for (const [index, { files, size, fragment }] of wanted.warmUps.entries()) {
    const job = { kind: 'throughput', port: server.port, protocol, size, fragment, counter: 'files' } as const
    const prefix = `warm${index}-`
    await client.run(server, { ...job, prefix, uploads: WarmUpConnections, warmUp: 0, measure: { files } })
  }
}

const upload = ({
  client,
  wanted,
  server,
  protocol,
}: Setting): Promise<JobResult & { sent: readonly SentFile[] }> =>
  client.run(server, {
    kind: 'throughput',
    port: server.port,
    protocol,
    uploads: wanted.uploads,
    size: wanted.size,
    fragment: wanted.fragment,
    counter: units[wanted.unit].counter,
    warmUp: 0,
    measure: { files: wanted.files },
  })

/** Resolves when a process does nothing. */
async function idle(pid: number): Promise<void> {
  for (let waited = 0; waited < MaxIdleWaitMs; waited += PollIntervalMs) {
    const before = processorTime(pid)
    await delay(PollIntervalMs)
    if (processorTime(pid) - before < IdleSeconds) return
  }
}

/** Resolves to the counts when no request has been sent for a while. */
async function quiet(read: () => Promise<RequestCounts>): Promise<RequestCounts> {
  const total = (counts: RequestCounts): number =>
    Object.values(counts).reduce((sum, count) => sum + count, 0)
  let counts = await read()
  for (let waited = 0; waited < MaxIdleWaitMs; waited += QuietMs) {
    await delay(QuietMs)
    const now = await read()
    if (total(now) === total(counts)) return now
    counts = now
  }
  return counts
}

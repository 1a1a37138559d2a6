import { setTimeout as delay } from 'node:timers/promises'
import { Connection } from './connection.ts'
import { contents } from './contents.ts'
import type { Counters, LoadMessage, Measurement, SentFile, ThroughputJob } from './job.ts'
import { protocols } from './protocols/index.ts'

type Report = (message: LoadMessage) => void

/** Runs the job. Reports when the measurement begins and ends, and which files the server acknowledged. */
export async function measureThroughput(job: ThroughputJob, report: Report): Promise<void> {
  const counters: Counters = { bytes: 0, requests: 0, files: 0 }
  const { measure } = job
  const sent =
    'files' in measure
      ? await measureFiles(job, measure.files, counters, report)
      : await measureTime(job, measure.time, counters, report)
  report({ type: 'done', sent })
}

/** Sends this many files on each connection. */
async function measureFiles(
  job: ThroughputJob,
  files: number,
  counters: Counters,
  report: Report,
): Promise<SentFile[]> {
  const mayCutFile = (): boolean => false
  if (job.warmUp > 0) {
    // One small file.
    const small = { ...job, size: Math.min(job.size, job.fragment, 1024 * 1024) }
    await uploadFiles(small, 0, 'w', counters, { isEnough: () => true, mayCutFile })
  }
  const finish = beginMeasurement(counters, report)
  const sent = await runConnections(job, counters, () => ({ isEnough: (done) => done === files, mayCutFile }))
  report({ type: 'end', ...finish() })
  return sent
}

/** Sends files until the time is over. */
async function measureTime(
  job: ThroughputJob,
  milliseconds: number,
  counters: Counters,
  report: Report,
): Promise<SentFile[]> {
  let isOver = false
  const running = runConnections(job, counters, (index) => ({
    isEnough: () => isOver,
    // One complete file is needed for the check. The other connections end at once.
    mayCutFile: () => isOver && (index > 0 || counters.files > 0),
  }))
  // `running` is in the race so that a failure is reported at once.
  await Promise.race([running, delay(job.warmUp)])
  const finish = beginMeasurement(counters, report)
  const before = counters[job.counter]
  do await Promise.race([running, delay(milliseconds)])
  while (counters[job.counter] === before)
  report({ type: 'end', ...finish() })
  isOver = true
  return running
}

/** When a connection ends. */
interface EndCondition {
  /** Asked after each file. */
  isEnough(done: number): boolean
  /** Asked between two requests of a file. */
  mayCutFile(): boolean
}

async function runConnections(
  job: ThroughputJob,
  counters: Counters,
  conditionOf: (index: number) => EndCondition,
): Promise<SentFile[]> {
  const connections = Array.from({ length: job.uploads }, (_, index) =>
    uploadFiles(job, index, `${job.prefix ?? ''}f${index}`, counters, conditionOf(index)),
  )
  return (await Promise.all(connections)).flat()
}

/** Begins the measurement. The function that it returns ends it. */
function beginMeasurement(counters: Counters, report: Report): () => Measurement {
  const before = { ...counters }
  const cpu = process.cpuUsage()
  const time = process.hrtime.bigint()
  report({ type: 'begin' })
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return {
      seconds: Number(process.hrtime.bigint() - time) / 1e9,
      bytes: counters.bytes - before.bytes,
      requests: counters.requests - before.requests,
      files: counters.files - before.files,
      cpu: (user + system) / 1e6,
    }
  }
}

/** Sends files over one connection until its end condition is met. Resolves to the acknowledged files. */
async function uploadFiles(
  { port, protocol, size, fragment }: Pick<ThroughputJob, 'port' | 'protocol' | 'size' | 'fragment'>,
  index: number,
  prefix: string,
  counters: Counters,
  { isEnough, mayCutFile }: EndCondition,
): Promise<SentFile[]> {
  const sent: SentFile[] = []
  const connection = await Connection.open(port, (bytes) => {
    counters.bytes += bytes
  })
  do {
    const name = `${prefix}-${sent.length}`
    const salt = index + sent.length * 31
    const read = (first: number, length: number): Buffer[] => contents(salt, first, length)
    const steps = protocols[protocol]({ name, size, fragment, read })
    for (let step = steps.next(); !step.done; ) {
      step = steps.next(await connection.exchange(step.value))
      counters.requests += 1
      if (!step.done && mayCutFile()) {
        connection.close()
        return sent
      }
    }
    counters.files += 1
    sent.push({ name, size, salt })
  } while (!isEnough(sent.length))
  connection.close()
  return sent
}

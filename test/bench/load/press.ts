import { setTimeout as delay } from 'node:timers/promises'
import { Connection } from './connection.ts'
import { contents } from './contents.ts'
import { dialects } from './dialects/dialects.ts'
import type { Pressed, PressJob, Sent, Word } from './job.ts'

interface Counts {
  bytes: number
  requests: number
  files: number
}

/** Does the job; says when measuring begins and ends, and which files were acknowledged. */
export async function press(job: PressJob, say: (word: Word) => void): Promise<void> {
  const counts: Counts = { bytes: 0, requests: 0, files: 0 }
  const sent: Sent[] = []
  let isOver = 'files' in job.measure
  if ('files' in job.measure) {
    // One small file, so that the server knows what is coming.
    await upload({ ...job, size: Math.min(job.size, job.fragment, 1024 * 1024) }, 0, 'w', counts, () => true)
  }

  const work = Array.from({ length: job.uploads }, (_, index) => {
    const { measure } = job
    const enough = 'files' in measure ? (done: number) => done === measure.files : () => isOver
    return async () => sent.push(...(await upload(job, index, `f${index}`, counts, enough)))
  })
  const clock = 'files' in job.measure ? undefined : { warmUp: job.warmUp, time: job.measure.time }
  let window = clock ? undefined : begin(counts, say)
  const running = Promise.all(work.map((start) => start()))
  if (clock) {
    // A failure must not wait for the end of the time.
    await Promise.race([running, delay(clock.warmUp)])
    window = begin(counts, say)
    await Promise.race([running, delay(clock.time)])
    say({ type: 'end', ...window() })
    isOver = true
    await running
  } else {
    await running
    if (window) say({ type: 'end', ...window() })
  }
  say({ type: 'done', sent })
}

/** Begins the measuring; the result ends it. */
function begin(counts: Counts, say: (word: Word) => void): () => Pressed {
  const before = { ...counts }
  const cpu = process.cpuUsage()
  const time = process.hrtime.bigint()
  say({ type: 'begin' })
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return {
      seconds: Number(process.hrtime.bigint() - time) / 1e9,
      bytes: counts.bytes - before.bytes,
      requests: counts.requests - before.requests,
      files: counts.files - before.files,
      cpu: (user + system) / 1e6,
    }
  }
}

/** Sends files over one connection until there are enough. */
async function upload(
  { port, dialect, size, fragment }: Pick<PressJob, 'port' | 'dialect' | 'size' | 'fragment'>,
  index: number,
  prefix: string,
  counts: Counts,
  enough: (done: number) => boolean,
): Promise<Sent[]> {
  const sent: Sent[] = []
  const connection = await Connection.open(port, (bytes) => {
    counts.bytes += bytes
  })
  do {
    const name = `${prefix}-${sent.length}`
    const salt = index + sent.length * 31
    const read = (first: number, length: number): Buffer[] => contents(salt, first, length)
    const steps = dialects[dialect]({ name, size, fragment, read })
    for (let step = steps.next(); !step.done; ) {
      step = steps.next(await connection.exchange(step.value))
      counts.requests += 1
    }
    counts.files += 1
    sent.push({ name, size, salt })
  } while (!enough(sent.length))
  connection.close()
  return sent
}

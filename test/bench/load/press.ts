import { setTimeout as delay } from 'node:timers/promises'
import { Connection } from './connection.ts'
import { contents } from './contents.ts'
import { dialects } from './dialects/dialects.ts'
import type { Counts, Pressed, PressJob, Sent, Word } from './job.ts'

/** Does the job; says when measuring begins and ends, and which files were acknowledged. */
export async function press(job: PressJob, say: (word: Word) => void): Promise<void> {
  const counts: Counts = { bytes: 0, requests: 0, files: 0 }
  const { measure } = job
  const sent =
    'files' in measure
      ? await count(job, measure.files, counts, say)
      : await time(job, measure.time, counts, say)
  say({ type: 'done', sent })
}

/** So many files on each connection. */
async function count(
  job: PressJob,
  files: number,
  counts: Counts,
  say: (word: Word) => void,
): Promise<Sent[]> {
  const isCut = (): boolean => false
  // One small file, so that the server knows what is coming.
  const small = { ...job, size: Math.min(job.size, job.fragment, 1024 * 1024) }
  await upload(small, 0, 'w', counts, { isEnough: () => true, isCut })
  const window = begin(counts, say)
  const sent = await uploads(job, counts, () => ({ isEnough: (done) => done === files, isCut }))
  say({ type: 'end', ...window() })
  return sent
}

/** So many milliseconds. */
async function time(
  job: PressJob,
  milliseconds: number,
  counts: Counts,
  say: (word: Word) => void,
): Promise<Sent[]> {
  let isOver = false
  const running = uploads(job, counts, (index) => ({
    isEnough: () => isOver,
    // There has to be a file to be looked at; for more than one nobody waits.
    isCut: () => isOver && (index > 0 || counts.files > 0),
  }))
  // A failure must not wait for the end of the time.
  await Promise.race([running, delay(job.warmUp)])
  const window = begin(counts, say)
  const before = counts[job.counted]
  do await Promise.race([running, delay(milliseconds)])
  while (counts[job.counted] === before)
  say({ type: 'end', ...window() })
  isOver = true
  return running
}

/** When a connection ends. */
interface Until {
  /** Between two files. */
  isEnough(done: number): boolean
  /** In the midst of one, between two requests. */
  isCut(): boolean
}

async function uploads(job: PressJob, counts: Counts, until: (index: number) => Until): Promise<Sent[]> {
  const lines = Array.from({ length: job.uploads }, (_, index) =>
    upload(job, index, `f${index}`, counts, until(index)),
  )
  return (await Promise.all(lines)).flat()
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

/** Sends files over one connection until there are enough, or it is cut. Resolves to those that were acknowledged. */
async function upload(
  { port, dialect, size, fragment }: Pick<PressJob, 'port' | 'dialect' | 'size' | 'fragment'>,
  index: number,
  prefix: string,
  counts: Counts,
  { isEnough, isCut }: Until,
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
      if (!step.done && isCut()) {
        connection.close()
        return sent
      }
    }
    counts.files += 1
    sent.push({ name, size, salt })
  } while (!isEnough(sent.length))
  connection.close()
  return sent
}

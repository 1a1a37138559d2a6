import { stat, unlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { cancelUpload, type JobSummary, readJob, UploadError } from '../client/index.ts'
import { Job } from '../client/job.ts'
import { ExitCode, UsageError, type Values } from './command.ts'
import { readConnection } from './connection.ts'
import { countOf, formatSize, printable } from './format.ts'
import { type JobFile, jobFiles } from './jobs-directory.ts'
import { transferUntilStopped } from './send.ts'
import { exitCodeOf, messageOf } from './transfer.ts'

interface ListedJob extends JobFile {
  /** Contents of the job file, or why it cannot be read. */
  readonly summary: JobSummary | UploadError
}

/** Runs {@link jobsCommand}. */
export async function runJobs(values: Values, [verb = 'list', ...ids]: readonly string[]): Promise<number> {
  if (verb === 'list' && ids.length === 0) return listJobs(await allJobs())
  if (verb === 'resume') {
    const all = await allJobs()
    return resume(ids.length > 0 ? choose(all, ids) : await resumable(all), values)
  }
  if (verb !== 'cancel' && verb !== 'forget')
    throw new UsageError(`jobs takes list, resume, cancel or forget, not '${verb}'`)
  if (ids.length === 0) throw new UsageError(`${verb} takes the IDs of jobs, or 'all'`)
  const all = await allJobs()
  const chosen = ids[0] === 'all' ? all : choose(all, ids)
  return verb === 'cancel' ? cancel(chosen, values) : forget(chosen)
}

/** The jobs of this user that no other process is sending. Prints how many others there are. */
async function resumable(all: readonly ListedJob[]): Promise<ListedJob[]> {
  const own = await filterJobs(all, async ({ path }) => {
    // Windows has no user IDs.
    const { uid = -1 } = (await stat(path).catch(() => undefined)) ?? {}
    return process.geteuid === undefined || uid === process.geteuid()
  })
  const free = await filterJobs(own, async ({ path }) => !(await isInUse(path)))
  const [others, used] = [all.length - own.length, own.length - free.length]
  if (others > 0) console.error(`${countOf(others, 'job')} of other users not resumed`)
  if (used > 0) console.error(`${countOf(used, 'job')} in use by another process`)
  return free
}

async function filterJobs(
  all: readonly ListedJob[],
  accepts: (job: ListedJob) => Promise<boolean>,
): Promise<ListedJob[]> {
  const accepted = await Promise.all(all.map(accepts))
  return all.filter((_, index) => accepted[index])
}

/** Whether another process holds the lock of a job file. Waits a second for a process that is ending. */
async function isInUse(path: string): Promise<boolean> {
  try {
    const job = await Job.open(path)
    await job.release()
    return false
  } catch (error) {
    return error instanceof UploadError && error.code === 'job-in-use'
  }
}

async function resume(chosen: readonly ListedJob[], values: Values): Promise<number> {
  const connection = readConnection(values)
  const damaged = chosen.filter(({ summary }) => summary instanceof UploadError)
  for (const { id, summary } of damaged) console.error(`${id}: ${messageOf(summary)}`)
  const transfers = chosen.flatMap(({ path, summary }) => {
    if (summary instanceof UploadError) return []
    const { source, url } = summary
    return [{ path: source, name: basename(source), url: new URL(url), job: path }]
  })
  if (chosen.length === 0) {
    console.log('There are no unfinished uploads to resume.')
    return ExitCode.Ok
  }
  const code =
    transfers.length === 0
      ? ExitCode.Ok
      : await transferUntilStopped(transfers, { ...connection, parallel: 3, reply: false })
  return damaged.length > 0 ? ExitCode.Failed : code
}

async function cancel(chosen: readonly ListedJob[], values: Values): Promise<number> {
  const connection = readConnection(values, 0)
  const codes: number[] = []
  for (const { id, path, summary } of chosen) {
    const name = nameOf(summary)
    try {
      if (!(summary instanceof UploadError)) await cancelUpload(path, connection)
      // A damaged job file does not contain the server.
      else if (summary.code === 'job-invalid') await unlink(path)
      else throw summary
      console.log(`${id}${name}: cancelled`)
    } catch (error) {
      codes.push(exitCodeOf(error))
      console.error(`${id}${name}: ${messageOf(error)} The job file is kept: ${path}`)
      const isUsed = error instanceof UploadError && error.code === 'job-in-use'
      if (!isUsed) console.error(`If the server is gone for good: express-bits-upload jobs forget ${id}`)
    }
  }
  return codes.includes(ExitCode.Failed) ? ExitCode.Failed : (codes[0] ?? ExitCode.Ok)
}

/** Removes job files, without a request to the server. */
async function forget(chosen: readonly ListedJob[]): Promise<number> {
  let code: number = ExitCode.Ok
  for (const { id, path, summary } of chosen) {
    const name = nameOf(summary)
    try {
      if (await isInUse(path)) throw new Error('another process is sending it; stop that process first')
      await unlink(path)
      console.log(`${id}${name}: forgotten; the session on the server ends when it expires`)
    } catch (error) {
      code = ExitCode.Failed
      console.error(`${id}${name}: ${(error as Error).message}`)
    }
  }
  return code
}

/** The source of a job with a space before it; empty if the job file cannot be read. */
const nameOf = (summary: ListedJob['summary']): string =>
  summary instanceof UploadError ? '' : ` ${printable(summary.source)}`

async function allJobs(): Promise<ListedJob[]> {
  const files = await jobFiles()
  const found = await Promise.all(
    files.map(async (file) => {
      const summary = await readJob(file.path).catch((error: unknown) => {
        // A damaged job file must not hide the other jobs.
        if (error instanceof UploadError) return error
        throw error
      })
      // Undefined: another process has removed the job file in the meantime.
      return summary ? [{ ...file, summary }] : []
    }),
  )
  return found.flat()
}

/** The jobs with these IDs, which may be abbreviated. */
function choose(all: readonly ListedJob[], ids: readonly string[]): readonly ListedJob[] {
  return ids.map((id) => {
    const [job, other] = all.filter((each) => each.id.startsWith(id))
    if (job && !other) return job
    throw new UsageError(
      `${job ? 'more than one job ID begins' : 'no job ID begins'} with ${id}; see: express-bits-upload jobs`,
    )
  })
}

function listJobs(all: readonly ListedJob[]): number {
  if (all.length === 0) console.log('There are no unfinished uploads.')
  for (const { id, summary } of all) {
    if (summary instanceof UploadError) {
      console.log(`${id}  ${messageOf(summary)}`)
      continue
    }
    const { source, url, held, size, created } = summary
    const percent = size === 0 ? 100 : Math.floor((held / size) * 100)
    console.log(`${id}  ${String(percent).padStart(3)}% of ${formatSize(size)}  since ${created}`)
    console.log(`              ${printable(source)}\n              ${url}`)
  }
  return ExitCode.Ok
}

import { unlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { cancelUpload, type JobSummary, readJob, UploadError } from '../client/index.ts'
import { type Command, ExitCode, UsageError, type Values } from './command.ts'
import { connectionHelp, connectionOptions, readConnection } from './connection.ts'
import { formatSize, printable } from './format.ts'
import { type JobFile, jobFiles } from './jobs-directory.ts'
import { transferUntilStopped } from './send.ts'
import { exitCodeOf, messageOf } from './transfer.ts'

const jobsHelp = `Lists, resumes and cancels the unfinished uploads of this user.

Usage: express-bits-upload jobs [list]
       express-bits-upload jobs resume [OPTION…] [ID…]
       express-bits-upload jobs cancel [OPTION…] ID…

resume without an ID resumes all jobs. To cancel all jobs: express-bits-upload jobs cancel all
A job does not contain passwords: pass them again. Nor does it contain the file of --reply, and resume fetches no reply: to
get one, run the same send command again.
cancel makes one attempt, or more with --give-up. If the server cannot be reached, the job is kept.

${connectionHelp}  -h, --help

Exit codes: 0 success, 1 permanent failure, 2 usage error, 3 incomplete (can be resumed).
`

interface ListedJob extends JobFile {
  /** Contents of the job file, or why it cannot be read. */
  readonly summary: JobSummary | UploadError
}

export const jobs: Command = {
  summary: 'lists, resumes and cancels unfinished uploads',
  help: jobsHelp,
  options: connectionOptions,

  async run(values, [verb = 'list', ...ids]) {
    if (verb === 'list' && ids.length === 0) return listJobs(await allJobs())
    if (verb === 'resume') return resume(choose(await allJobs(), ids), values)
    if (verb !== 'cancel') throw new UsageError(`jobs takes list, resume or cancel, not '${verb}'`)
    if (ids.length === 0) throw new UsageError("cancel takes the IDs of jobs, or 'all'")
    return cancel(choose(await allJobs(), ids[0] === 'all' ? [] : ids), values)
  },
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
  if (chosen.length === 0) return listJobs([])
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
    const name = summary instanceof UploadError ? '' : ` ${printable(summary.source)}`
    try {
      if (!(summary instanceof UploadError)) await cancelUpload(path, connection)
      // A damaged job file does not contain the server.
      else if (summary.code === 'job-invalid') await unlink(path)
      else throw summary
      console.log(`${id}${name}: cancelled`)
    } catch (error) {
      codes.push(exitCodeOf(error))
      console.error(`${id}${name}: ${messageOf(error)} The job file is kept: ${path}`)
    }
  }
  return codes.includes(ExitCode.Failed) ? ExitCode.Failed : (codes[0] ?? ExitCode.Ok)
}

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

/** The jobs with these IDs, which may be abbreviated; all jobs if there are no IDs. */
function choose(all: readonly ListedJob[], ids: readonly string[]): readonly ListedJob[] {
  if (ids.length === 0) return all
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

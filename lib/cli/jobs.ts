import { unlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { cancelUpload, type JobSummary, readJob, UploadError } from '../client/index.ts'
import { type Command, Failed, Ok, UsageError, type Values } from './command.ts'
import { connectionHelp, connectionOptions, readConnection } from './connection.ts'
import { formatSize, printable } from './format.ts'
import { type JobFile, jobFiles } from './jobs-directory.ts'
import { transferUntilStopped } from './send.ts'
import { exitCodeOf, messageOf } from './transfer.ts'

const jobsHelp = `Lists, resumes and cancels the unfinished uploads of this user.

Usage: express-bits-upload jobs [list]
       express-bits-upload jobs resume [OPTION…] [ID…]
       express-bits-upload jobs cancel [OPTION…] ID…

Without an ID all are resumed. To cancel all, say: jobs cancel all. Passwords are not remembered: say them again.
Nor is where a reply goes, and none is fetched here: where one matters, say the same send command again.
To cancel is tried once, unless --give-up says otherwise. What the server cannot be told is kept.

${connectionHelp}  -h, --help

Exit codes: 0 done, 1 some failed, 2 wrong use, 3 some are still unfinished.
`

interface ListedJob extends JobFile {
  /** What its file says; why it says nothing. */
  readonly summary: JobSummary | UploadError
}

export const jobs: Command = {
  summary: 'lists, resumes and cancels unfinished uploads',
  help: jobsHelp,
  options: connectionOptions,

  async run(values, [verb = 'list', ...ids]) {
    if (verb === 'list' && ids.length === 0) return listJobs(await allJobs())
    if (verb === 'resume') return resume(choose(await allJobs(), ids), values)
    if (verb !== 'cancel') throw new UsageError(`jobs can list, resume and cancel, not '${verb}'`)
    if (ids.length === 0) throw new UsageError("say which job is to be cancelled, or 'all'")
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
      ? Ok
      : await transferUntilStopped(transfers, { ...connection, parallel: 3, reply: false })
  return damaged.length > 0 ? Failed : code
}

async function cancel(chosen: readonly ListedJob[], values: Values): Promise<number> {
  const connection = readConnection(values, 0)
  const codes: number[] = []
  for (const { id, path, summary } of chosen) {
    const name = summary instanceof UploadError ? '' : ` ${printable(summary.source)}`
    try {
      if (!(summary instanceof UploadError)) await cancelUpload(path, connection)
      // From one that is damaged nobody learns which server to tell.
      else if (summary.code === 'job-invalid') await unlink(path)
      else throw summary
      console.log(`${id}${name}: cancelled`)
    } catch (error) {
      codes.push(exitCodeOf(error))
      console.error(`${id}${name}: ${messageOf(error)} It is kept, in ${path}`)
    }
  }
  return codes.includes(Failed) ? Failed : (codes[0] ?? Ok)
}

async function allJobs(): Promise<ListedJob[]> {
  const files = await jobFiles()
  const found = await Promise.all(
    files.map(async (file) => {
      const summary = await readJob(file.path).catch((error: unknown) => {
        // One that cannot be read is not to hide the others.
        if (error instanceof UploadError) return error
        throw error
      })
      // Ended meanwhile, by another process.
      return summary ? [{ ...file, summary }] : []
    }),
  )
  return found.flat()
}

/** Jobs by their words, or by the beginning of them; all, if there is none. */
function choose(all: readonly ListedJob[], ids: readonly string[]): readonly ListedJob[] {
  if (ids.length === 0) return all
  return ids.map((id) => {
    const [job, other] = all.filter((each) => each.id.startsWith(id))
    if (job && !other) return job
    throw new UsageError(
      `${job ? 'more than one job begins' : 'no job begins'} with ${id}; see: express-bits-upload jobs`,
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
  return Ok
}

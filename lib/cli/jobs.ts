import { basename } from 'node:path'
import { cancelUpload, type JobSummary, readJob } from '../client/index.ts'
import { type Command, Done, Failed, UsageError } from './command.ts'
import { connectionHelp, connectionOptions, readConnection } from './connection.ts'
import { formatSize, printable } from './format.ts'
import { type JobFile, jobFiles } from './jobs-directory.ts'
import { transferUntilStopped } from './send.ts'

const help = `Lists, resumes and cancels the unfinished uploads of this user.

Usage: express-bits-upload jobs [list]
       express-bits-upload jobs resume [OPTION…] [ID…]
       express-bits-upload jobs cancel [OPTION…] ID…

Without an ID all are resumed. To cancel all, say: jobs cancel all. Passwords are not remembered: say them again.

${connectionHelp}  -h, --help

Exit codes: 0 done, 1 some failed, 2 wrong use, 3 some are still unfinished.
`

interface Job extends JobFile {
  readonly summary: JobSummary
}

export const jobs: Command = {
  summary: 'lists, resumes and cancels unfinished uploads',
  help,
  options: connectionOptions,

  async run(values, [verb = 'list', ...ids]) {
    if (verb === 'list' && ids.length === 0) return list(await allJobs())
    if (verb === 'resume') {
      const chosen = choose(await allJobs(), ids)
      const transfers = chosen.map(({ path, summary: { source, url } }) => ({
        path: source,
        name: basename(source),
        url: new URL(url),
        job: path,
      }))
      if (transfers.length === 0) return list([])
      return transferUntilStopped(transfers, { ...readConnection(values), parallel: 3, reply: false })
    }
    if (verb !== 'cancel') throw new UsageError(`jobs can list, resume and cancel, not '${verb}'`)
    if (ids.length === 0) throw new UsageError("say which job is to be cancelled, or 'all'")
    const chosen = choose(await allJobs(), ids[0] === 'all' ? [] : ids)
    let code: number = Done
    for (const { id, path, summary } of chosen) {
      try {
        await cancelUpload(path, readConnection(values))
        console.log(`${id} ${printable(summary.source)}: cancelled`)
      } catch (error) {
        code = Failed
        console.error(`${id} ${printable(summary.source)}: ${(error as Error).message}`)
      }
    }
    return code
  },
}

async function allJobs(): Promise<Job[]> {
  const files = await jobFiles()
  const found = await Promise.all(files.map(async (file) => ({ ...file, summary: await readJob(file.path) })))
  // Ended meanwhile, by another process.
  return found.filter((job): job is Job => job.summary !== undefined)
}

/** Jobs by their words, or by the beginning of them; all, if there is none. */
function choose(all: readonly Job[], ids: readonly string[]): readonly Job[] {
  if (ids.length === 0) return all
  return ids.map((id) => {
    const [job, other] = all.filter((each) => each.id.startsWith(id))
    if (job && !other) return job
    throw new UsageError(
      `${job ? 'more than one job begins' : 'no job begins'} with ${id}; see: express-bits-upload jobs`,
    )
  })
}

function list(all: readonly Job[]): number {
  if (all.length === 0) console.log('There are no unfinished uploads.')
  for (const { id, summary } of all) {
    const { source, url, held, size, created } = summary
    const percent = size === 0 ? 100 : Math.floor((held / size) * 100)
    console.log(`${id}  ${String(percent).padStart(3)}% of ${formatSize(size)}  since ${created}`)
    console.log(`              ${printable(source)}\n              ${url}`)
  }
  return Done
}

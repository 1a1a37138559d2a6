import type { Command } from '../command.ts'
import { clientHelp, connectionOptions, environmentHelp, giveUpHelp } from './connection-options.ts'

const jobsHelp = `Lists, resumes, cancels and forgets the unfinished uploads of this user.

Usage: express-bits-upload jobs [list]
       express-bits-upload jobs resume [OPTION…] [ID…]
       express-bits-upload jobs cancel [OPTION…] ID…
       express-bits-upload jobs forget ID…

  list     prints the ID, progress, file and URL of each unfinished upload; the default.
  resume   sends the rest of these uploads, or without an ID all of this user that no other process is sending.
  cancel   ends these uploads on the server and removes their job files. If the server cannot be reached, the job is kept.
  forget   removes the job files without a request, for example because the server no longer exists. A server removes an
           unfinished upload by itself when it expires.

An ID may be abbreviated. cancel and forget accept 'all' instead of IDs.
A job file contains no credentials and no header fields: pass --user, --header and the certificates again.
resume fetches no reply: to get one, run the same send command with --reply again.

${clientHelp}${giveUpHelp}
                           For cancel the default is 0.
  -h, --help               Print this text.

${environmentHelp}
Exit codes: 0 success, 1 permanent failure, 2 usage error, 3 incomplete (can be resumed).
`

export const jobsCommand: Command = {
  summary: 'lists, resumes, cancels and forgets unfinished uploads',
  help: jobsHelp,
  options: connectionOptions,
  run: async (values, positionals) => (await import('../jobs.ts')).runJobs(values, positionals),
}

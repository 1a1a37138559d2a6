import type { Command } from '../command.ts'
import { clientHelp, connectionOptions, environmentHelp, giveUpHelp } from './connection-options.ts'

const sendHelp = `Sends files to a BITS server: express-bits-upload serve, IIS, or another one.

Usage: express-bits-upload send [OPTION…] FILE… URL

A URL that ends with a slash is a folder: each file is sent under its own name. Any other URL is the URL of one file.
FILE may also be a directory, whose files are sent with their paths (the server must have, or create, the folders), or a
pattern such as 'logs/*.log'.

An upload that is interrupted is retried, and continues at the byte where it stopped. After a second it is recorded in a job
file: after Ctrl+C, a crash or a reboot the same command resumes it, and so does: express-bits-upload jobs resume

      --reply FILE         Write the reply, if the server answers an upload with one, to FILE; -: to standard output. Only for
                           one file. Default: the reply is not fetched
      --parallel N         Number of files that are sent at the same time. Default: 3
      --max-fragment SIZE  Largest part of a file in one request; parts get smaller if a proxy refuses them. Default: 13mb

${clientHelp}${giveUpHelp}
  -h, --help               Print this text.

${environmentHelp}
Exit codes: 0 all files sent, 1 permanent failure, 2 usage error, 3 incomplete (can be resumed).

Examples:
  express-bits-upload send report.zip https://files.example/upload/
  express-bits-upload send --user backup:s3cret 'C:\\logs\\*.log' https://files.example/upload/logs/
  express-bits-upload send query.xml --reply answer.xml http://files.example/app/query.xml
`

export const sendCommand: Command = {
  summary: 'sends files',
  help: sendHelp,
  options: {
    ...connectionOptions,
    reply: { type: 'string' },
    parallel: { type: 'string' },
    'max-fragment': { type: 'string' },
  },
  run: async (values, positionals) => (await import('../send.ts')).runSend(values, positionals),
}

import { PassThrough } from 'node:stream'
import { type Command, UsageError, type Values } from './command.ts'
import {
  clientHelp,
  connectionOptions,
  environmentHelp,
  giveUpHelp,
  readConnection,
  readTargetUrl,
} from './connection.ts'
import { openDisplay } from './display.ts'
import { findFiles, urlFor } from './files.ts'
import { jobPath } from './jobs-directory.ts'
import { stopSignal } from './server.ts'
import { type TransferOptions, transferAll } from './transfer.ts'
import { numberOf, sizeValue } from './values.ts'

const sendHelp = `Sends files to a BITS server: express-bits-upload serve, IIS, or another one.

Usage: express-bits-upload send [OPTION…] FILE… URL

A URL that ends with a slash is a folder: each file is sent under its own name. Any other URL is the URL of one file.
FILE may also be a directory, whose files are sent with their paths (the server must have, or create, the folders), or a
pattern such as 'logs/*.log'.

An upload that is interrupted is retried, and continues at the byte where it stopped. It is recorded in a job file: after
Ctrl+C, a crash or a reboot the same command resumes it, and so does: express-bits-upload jobs resume

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

  async run(values, positionals) {
    const [last, ...rest] = [...positionals].reverse()
    if (last === undefined || rest.length === 0)
      throw new UsageError('send takes one or more files, and a URL')
    const url = readTargetUrl(last)
    const files = await findFiles(rest.reverse())
    if (files.length > 1 && !url.pathname.endsWith('/')) {
      throw new UsageError(`several files need the URL of a folder: ${url}/`)
    }
    const options = sendOptionsOf(values, files.length)
    const transfers = await Promise.all(
      files.map(async (file) => {
        const target = urlFor(file, url)
        return { path: file.path, name: file.name, url: target, job: await jobPath(file.path, target) }
      }),
    )
    return transferUntilStopped(transfers, options)
  },
}

/**
 * Runs {@link transferAll}. The first SIGINT or SIGTERM pauses the transfers, the second ends the process at
 * once.
 */
export async function transferUntilStopped(
  transfers: Parameters<typeof transferAll>[0],
  options: TransferOptions,
): Promise<number> {
  // Standard output is reserved for the reply.
  const display = openDisplay(process.stderr)
  const controller = new AbortController()
  void stopSignal().then(() => controller.abort(new Error('paused')))
  try {
    return await transferAll(transfers, { ...options, signal: controller.signal }, display)
  } finally {
    display.close()
  }
}

function sendOptionsOf(values: Values, files: number): TransferOptions {
  const maxFragmentSize = sizeValue(values, 'max-fragment')
  const reply = values.reply as string | undefined
  if (reply !== undefined && files > 1) throw new UsageError('--reply can only be used with one file')
  return {
    ...readConnection(values),
    parallel: numberOf(values, 'parallel', 1, 100) ?? 3,
    ...(maxFragmentSize !== undefined && { maxFragmentSize }),
    reply: reply === '-' ? standardOutput() : (reply ?? false),
  }
}

/**
 * A stream that writes to standard output. The client ends the stream of a reply; standard output must stay
 * open.
 */
function standardOutput(): PassThrough {
  const through = new PassThrough()
  through.pipe(process.stdout, { end: false })
  // Standard output is closed: the reply cannot be written.
  process.stdout.once('error', (error) => through.destroy(error))
  return through
}

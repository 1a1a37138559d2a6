import { PassThrough } from 'node:stream'
import { type Command, UsageError, type Values } from './command.ts'
import { connectionHelp, connectionOptions, readConnection } from './connection.ts'
import { openDisplay } from './display.ts'
import { findFiles, urlFor } from './files.ts'
import { jobPath } from './jobs-directory.ts'
import { stopSignal } from './server.ts'
import { type TransferOptions, transferAll } from './transfer.ts'
import { numberOf, sizeValue } from './values.ts'

const sendHelp = `Sends files to a BITS server: to express-bits-upload serve, to IIS, or to any other.

Usage: express-bits-upload send [OPTION…] FILE… URL

A URL that ends with a slash is a folder: each file goes there under its own name, and what is in a directory keeps its
place in it (the server has to have, or to make, the folders). Any other URL is that of the one file.
FILE may be a pattern, such as 'logs/*.log'.

What breaks off is tried again, and goes on where the server has it. It is remembered: after Ctrl+C, a crash or a reboot
the same command goes on, and so does: express-bits-upload jobs resume

      --reply FILE         where the server's reply goes, if it has one; - is standard output. For one file.
      --parallel N         files at once: 3
      --max-fragment SIZE  the largest fragment: 13mb. Proxies may allow less; what they refuse is made smaller.

${connectionHelp}  -h, --help

Exit codes: 0 all are sent, 1 some failed for good, 2 wrong use, 3 some are unfinished and can be gone on with.

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
      throw new UsageError('send takes files, and the URL that they go to')
    const url = readDestinationUrl(last)
    const files = await findFiles(rest.reverse())
    if (files.length > 1 && !url.pathname.endsWith('/')) {
      throw new UsageError(`several files go to a folder: ${url}/`)
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

/** As {@link transferAll}, but a signal to stop is a pause. The second ends the process as it would any. */
export async function transferUntilStopped(
  transfers: Parameters<typeof transferAll>[0],
  options: TransferOptions,
): Promise<number> {
  // Standard output is for a reply.
  const display = openDisplay(process.stderr)
  const controller = new AbortController()
  void stopSignal().then(() => controller.abort(new Error('paused')))
  try {
    return await transferAll(transfers, { ...options, signal: controller.signal }, display)
  } finally {
    display.close()
  }
}

function readDestinationUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.username || url?.password) throw new UsageError('credentials are not for the URL, but for --user')
  // It would not be sent, and the file would get another name.
  if (url?.href.includes('#'))
    throw new UsageError("the URL has a '#': write it as %23 if it belongs to the name")
  if (url && /^https?:$/.test(url.protocol)) return url
  throw new UsageError(
    `the last argument is the URL that files go to, such as https://files.example/upload/, not '${text}'`,
  )
}

function sendOptionsOf(values: Values, files: number): TransferOptions {
  const maxFragmentSize = sizeValue(values, 'max-fragment')
  const reply = values.reply as string | undefined
  if (reply !== undefined && files > 1) throw new UsageError('--reply is for one file')
  return {
    ...readConnection(values),
    parallel: numberOf(values, 'parallel', 1, 100) ?? 3,
    ...(maxFragmentSize !== undefined && { maxFragmentSize }),
    reply: reply === '-' ? standardOutput() : (reply ?? false),
  }
}

/** Standard output is not to be ended, as the client ends what a reply goes to. */
function standardOutput(): PassThrough {
  const through = new PassThrough()
  through.pipe(process.stdout, { end: false })
  // Nobody reads it any more: the reply is not where it was to go.
  process.stdout.once('error', (error) => through.destroy(error))
  return through
}
